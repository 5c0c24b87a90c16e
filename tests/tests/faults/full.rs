//! A disk that is full: PostgreSQL stops (PANIC) when it cannot write its log.
//!
//! As root the server's log is moved to a small file system in memory, which is then filled. Others may not mount one; there the
//! folder of the log is made unwritable instead, which takes the same way in the server: the next file of the log cannot be made.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::bank::{Answer, Bank};
use tests::fleet::{Fleet, FleetOptions, eventually};

const LOG_MEBIBYTES: usize = 64;

#[test]
fn a_full_disk_stops_one_shard_and_loses_nothing() {
    let fleet = Fleet::start(&FleetOptions {
        shards: 2,
        routers: 1,
        servers: vec!["min_wal_size=32MB", "max_wal_size=48MB", "wal_recycle=off"],
        ..FleetOptions::default()
    });
    let bank = Bank::open(&fleet, 3);
    let disk = Disk::of(&fleet, 1);
    let mut answers = Vec::new();
    let mut client = fleet.routers[0].client();
    disk.fill();
    // Until the file of the log at hand is full, all goes on.
    let mut number = 0;
    eventually("the disk to be full", || {
        number += 1;
        let transfer = bank.transfer(&format!("t{number}"), &[0, 1]);
        let mut filler = fleet.routers[0].client();
        let account = transfer.parts[1].0;
        // A large row that is not kept, but logged. It fails when the server does.
        let large = format!(
            "BEGIN; INSERT INTO ledger SELECT {account}, 'x' || n || repeat(md5(n::text), 50), 0 FROM generate_series(1, 1000) AS n; ROLLBACK"
        );
        let _ = filler.query(&large);
        let answer = transfer.run(&mut client);
        answers.push((transfer, answer));
        !fleet.local.shards()[1].primary.is_running()
    });
    let (_, last) = answers.last().unwrap();
    assert_ne!(*last, Answer::Committed);
    // The other shard serves.
    let alone = bank.transfer("alone", &[0, 0]);
    let answer = alone.run(&mut fleet.routers[0].client());
    assert_eq!(answer, Answer::Committed);
    answers.push((alone, answer));
    disk.empty();
    fleet.start_server(1);
    let after = bank.transfer("after", &[0, 1]);
    eventually("the shard to be reached", || {
        let answer = after.run(&mut fleet.routers[0].client());
        let is_committed = answer == Answer::Committed;
        if is_committed {
            answers.push((after.clone(), answer));
        }
        is_committed
    });
    fleet.nothing_is_left();
    bank.audit(&fleet, &answers);
    drop(fleet);
    drop(disk);
}

/// Where a server's log is.
struct Disk {
    log: PathBuf,
    mounted: bool,
}

impl Disk {
    fn of(fleet: &Fleet, shard: usize) -> Disk {
        let log = fleet.local.shards()[shard]
            .primary
            .data_directory()
            .join("pg_wal");
        // SAFETY: geteuid has no preconditions.
        let is_root = unsafe { libc::geteuid() } == 0;
        fleet.kill_server(shard);
        if is_root {
            let kept = log.with_file_name("pg_wal.before");
            std::fs::rename(&log, &kept).unwrap();
            std::fs::create_dir(&log).unwrap();
            run(Command::new("mount")
                .args([
                    "-t",
                    "tmpfs",
                    "-o",
                    &format!("size={LOG_MEBIBYTES}m"),
                    "tmpfs",
                ])
                .arg(&log));
            run(Command::new("cp").arg("-a").arg(kept.join(".")).arg(&log));
            run(Command::new("chown")
                .arg(format!("--reference={}", kept.display()))
                .arg(&log));
            set_permissions(&log, Permissions::from_mode(0o700)).unwrap();
            std::fs::remove_dir_all(&kept).unwrap();
        }
        fleet.start_server(shard);
        Disk {
            log,
            mounted: is_root,
        }
    }

    fn ballast(&self) -> PathBuf {
        self.log.join("ballast")
    }

    fn fill(&self) {
        if self.mounted {
            // It ends with an error: no space is left.
            let wrote = std::fs::write(self.ballast(), vec![1; LOG_MEBIBYTES << 20]);
            assert!(wrote.is_err());
        } else {
            set_permissions(&self.log, Permissions::from_mode(0o500)).unwrap();
        }
    }

    fn empty(&self) {
        if self.mounted {
            std::fs::remove_file(self.ballast()).unwrap();
        } else {
            set_permissions(&self.log, Permissions::from_mode(0o700)).unwrap();
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            unmount(&self.log);
        }
    }
}

fn unmount(folder: &Path) {
    // Also while somebody still holds a file there.
    let _ = Command::new("umount").arg("--lazy").arg(folder).status();
}

fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}
