//! The files of one server: where each is, and how a data directory comes to be.
//!
//! ```text
//! <root>/            ours
//!   server.conf      all settings; includes data/postgresql.conf first
//!   log, log.1       of the last two runs
//!   port             the port of the last run
//!   data/, socket/   the server's own, of the account it runs as
//! ```
//! A data directory is made under another name and renamed when complete, so that one that is there is whole.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::run;
use super::scratch::Scratch;
use super::{Account, Binaries, Error, identifier};

/// Begins the names of data directories that are being made.
const UNFINISHED: &str = "data.unfinished-";

/// The files of one server.
#[derive(Debug, Clone)]
pub(super) struct ServerDirectory {
    root: PathBuf,
    account: Option<Account>,
}

/// Where a base backup comes from.
pub(super) struct BackupSource<'a> {
    pub port: u16,
    pub slot: &'a str,
}

impl ServerDirectory {
    /// Makes the directory if it is missing.
    pub(super) fn create(root: &Path, account: Option<Account>) -> Result<ServerDirectory, Error> {
        let action = || format!("create {}", root.display());
        std::fs::create_dir_all(root).map_err(Error::io(action()))?;
        std::fs::set_permissions(root, Permissions::from_mode(0o711))
            .map_err(Error::io(action()))?;
        let root = root.canonicalize().map_err(Error::io(action()))?;
        let directory = ServerDirectory { root, account };
        match DirBuilder::new().mode(0o700).create(directory.socket()) {
            Ok(()) => directory.own(&directory.socket())?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(Error::io(format!(
                    "create {}",
                    directory.socket().display()
                ))(error));
            }
        }
        Ok(directory)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.root.join("socket")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    pub(super) fn configuration(&self) -> PathBuf {
        self.root.join("server.conf")
    }

    pub(super) fn host_rules(&self) -> PathBuf {
        self.root.join("pg_hba.conf")
    }

    pub(super) fn has_data(&self) -> bool {
        self.data().is_dir()
    }

    /// The port of the last run.
    pub(super) fn recorded_port(&self) -> Option<u16> {
        std::fs::read_to_string(self.root.join("port"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    pub(super) fn record_port(&self, port: u16) -> Result<(), Error> {
        self.write(&self.root.join("port"), &format!("{port}\n"))
    }

    /// Writes a file of ours that the server can read.
    pub(super) fn write(&self, path: &Path, text: &str) -> Result<(), Error> {
        std::fs::write(path, text)
            .and_then(|()| std::fs::set_permissions(path, Permissions::from_mode(0o644)))
            .map_err(Error::io(format!("write {}", path.display())))
    }

    /// A new log; the previous one is kept beside it.
    pub(super) fn new_log(&self) -> Result<File, Error> {
        let log = self.log();
        let _ = std::fs::rename(&log, self.root.join("log.1"));
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o644)
            .open(&log)
            .map_err(Error::io(format!("write {}", log.display())))
    }

    /// A command that runs one of PostgreSQL's programs as the server's account, in a folder that it can enter.
    pub(super) fn command(
        &self,
        binaries: &Binaries,
        program: &'static str,
    ) -> Result<Command, Error> {
        let mut command = Command::new(binaries.program(program)?);
        command
            .current_dir(&self.root)
            .env_clear()
            .envs(inherited_environment());
        if let Some(account) = &self.account {
            account.run_as(&mut command);
        }
        Ok(command)
    }

    /// Makes the data directory by `initdb`, or as a copy of one made so earlier and kept in `template`.
    ///
    /// `durable` waits until the files are on disk.
    pub(super) async fn initialize(
        &self,
        binaries: &Binaries,
        template: Option<&Path>,
        durable: bool,
    ) -> Result<(), Error> {
        let Some(templates) = template else {
            return self.initdb(binaries, durable).await;
        };
        // SAFETY: geteuid has no preconditions.
        let user = unsafe { libc::geteuid() };
        let template = templates.join(format!("postgresql-{}-{user}", binaries.version()));
        if !template.is_dir() {
            let scratch = Scratch::create()?;
            let origin =
                ServerDirectory::create(&scratch.path().join("template"), self.account.clone())?;
            origin.initdb(binaries, false).await?;
            std::fs::create_dir_all(templates)
                .map_err(Error::io(format!("create {}", templates.display())))?;
            let unfinished =
                templates.join(format!("unfinished-{}-{}", std::process::id(), unique()));
            copy(&origin.data(), &unfinished, None).await?;
            if std::fs::rename(&unfinished, &template).is_err() {
                // Another process was faster, which is as good.
                let _ = std::fs::remove_dir_all(&unfinished);
            }
        }
        let unfinished = self.unfinished();
        copy(&template, &unfinished, self.account.clone()).await?;
        identifier::renew(&unfinished)
            .map_err(Error::io("give the copy an identifier of its own"))?;
        self.finish(&unfinished)
    }

    async fn initdb(&self, binaries: &Binaries, durable: bool) -> Result<(), Error> {
        let mut result = Ok(());
        // C.UTF-8 sorts by code point like C, and knows letters beyond ASCII; not every system has it.
        for locale in ["C.UTF-8", "C"] {
            let unfinished = self.unfinished();
            self.own_new(&unfinished)?;
            let mut command = self.command(binaries, "initdb")?;
            command.arg("-D").arg(&unfinished);
            command.args(["--auth=trust", "--username=postgres", "--encoding=UTF8"]);
            command.arg(format!("--locale={locale}"));
            if !durable {
                command.arg("--no-sync");
            }
            result = run("initdb", command, &self.root.join("initdb.log")).await;
            if result.is_ok() {
                return self.finish(&unfinished);
            }
        }
        result
    }

    /// Makes the data directory of a replica by `pg_basebackup`.
    pub(super) async fn back_up(
        &self,
        binaries: &Binaries,
        source: BackupSource<'_>,
        durable: bool,
    ) -> Result<(), Error> {
        let unfinished = self.unfinished();
        self.own_new(&unfinished)?;
        let mut command = self.command(binaries, "pg_basebackup")?;
        command.arg("-D").arg(&unfinished);
        command
            .args(["-h", "127.0.0.1", "-U", "postgres", "-p"])
            .arg(source.port.to_string());
        command.args([
            "-X",
            "stream",
            "--checkpoint=fast",
            "--no-manifest",
            "-S",
            source.slot,
        ]);
        if !durable {
            command.arg("--no-sync");
        }
        run(
            "pg_basebackup",
            command,
            &self.root.join("pg_basebackup.log"),
        )
        .await?;
        let signal = unfinished.join("standby.signal");
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&signal)
            .map_err(Error::io(format!("create {}", signal.display())))?;
        self.own(&signal)?;
        self.finish(&unfinished)
    }

    /// A name under which a data directory is made, never used before: a program that an earlier attempt left behind
    /// may still be at work under another one.
    fn unfinished(&self) -> PathBuf {
        self.root
            .join(format!("{UNFINISHED}{}-{}", std::process::id(), unique()))
    }

    /// Removes what interrupted attempts left.
    pub(super) fn remove_unfinished(&self) {
        for entry in std::fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .flatten()
        {
            if entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(UNFINISHED))
            {
                // If this fails, the next start tries again; nobody reads what is there.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    fn finish(&self, unfinished: &Path) -> Result<(), Error> {
        std::fs::rename(unfinished, self.data())
            .map_err(Error::io(format!("rename {}", unfinished.display())))
    }

    fn own_new(&self, path: &Path) -> Result<(), Error> {
        DirBuilder::new()
            .mode(0o700)
            .create(path)
            .map_err(Error::io(format!("create {}", path.display())))?;
        self.own(path)
    }

    fn own(&self, path: &Path) -> Result<(), Error> {
        self.account
            .as_ref()
            .map_or(Ok(()), |account| account.own(path))
    }
}

/// The environment without what would change PostgreSQL's behaviour behind our back (`PGDATA`, `PGOPTIONS`, `LC_ALL` …).
fn inherited_environment() -> impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)> {
    const KEPT: &[&str] = &[
        "PATH",
        "TZ",
        "TMPDIR",
        "LD_LIBRARY_PATH",
        "DYLD_LIBRARY_PATH",
    ];
    KEPT.iter()
        .filter_map(|name| Some(((*name).into(), std::env::var_os(name)?)))
}

fn unique() -> u32 {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// Copies a directory with all beneath it, keeping permissions, giving everything to `account`.
async fn copy(from: &Path, to: &Path, account: Option<Account>) -> Result<(), Error> {
    let (from, to) = (from.to_owned(), to.to_owned());
    let action = format!("copy {} to {}", from.display(), to.display());
    tokio::task::spawn_blocking(move || copy_directory(&from, &to, account.as_ref()))
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
        .map_err(Error::io(action))
}

fn copy_directory(from: &Path, to: &Path, account: Option<&Account>) -> std::io::Result<()> {
    DirBuilder::new().mode(0o700).create(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &target, account)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
            if let Some(account) = account {
                chown(&target, Some(account.uid), Some(account.gid))?;
            }
        }
    }
    std::fs::set_permissions(to, Permissions::from_mode(from.metadata()?.mode() & 0o777))?;
    match account {
        Some(account) => chown(to, Some(account.uid), Some(account.gid)),
        None => Ok(()),
    }
}
