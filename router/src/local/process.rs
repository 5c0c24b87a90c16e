//! Child processes that die with this one, and whose end can be awaited from any thread or runtime.
//!
//! Entry point: [`Process::spawn`]. On Linux the kernel signals a child when the *thread* that forked it ends, so one
//! thread that lives as long as the process does all the forking. Another thread per child waits for its end; it is the
//! only one that reaps, and it does so under the lock that sending a signal takes, so that a signal never reaches
//! another process that got the same number.

use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::{Error, exit};

/// A child process of ours.
#[derive(Debug, Clone)]
pub struct Process {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pid: u32,
    parting_signal: libc::c_int,
    ended: Mutex<Option<ExitStatus>>,
    ended_condition: Condvar,
    ended_watch: watch::Sender<Option<ExitStatus>>,
}

impl Process {
    /// Starts `command` in a process group of its own, so that Ctrl-C reaches only us. The child gets
    /// `parting_signal` when this process ends in whatever way, as far as the system allows.
    pub fn spawn(mut command: Command, parting_signal: libc::c_int) -> io::Result<Process> {
        command.process_group(0).stdin(Stdio::null());
        #[cfg(target_os = "linux")]
        {
            let parent = std::process::id();
            // SAFETY: prctl and getppid are async-signal-safe.
            unsafe {
                command.pre_exec(move || {
                    if libc::prctl(libc::PR_SET_PDEATHSIG, parting_signal) != 0 {
                        return Err(io::Error::last_os_error());
                    }
                    // The parent may have died before the request was made.
                    if libc::getppid() as u32 != parent {
                        return Err(io::Error::from_raw_os_error(libc::ESRCH));
                    }
                    Ok(())
                });
            }
        }
        let (reply, answer) = sync_channel(1);
        let gone = || io::Error::other("the thread that starts servers is gone");
        spawner()?.send((command, reply)).map_err(|_| gone())?;
        let child = answer.recv().map_err(|_| gone())??;
        let shared = Arc::new(Shared {
            pid: child.id(),
            parting_signal,
            ended: Mutex::new(None),
            ended_condition: Condvar::new(),
            ended_watch: watch::Sender::new(None),
        });
        exit::register_process(&shared);
        let waiter = shared.clone();
        std::thread::Builder::new()
            .name(format!("pgweave-wait-{}", child.id()))
            .stack_size(64 * 1024)
            .spawn(move || waiter.wait(child))?;
        Ok(Process { shared })
    }

    pub fn pid(&self) -> u32 {
        self.shared.pid
    }

    /// The exit status, if the process has ended.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.shared.lock()
    }

    /// Sends a signal, unless the process has ended.
    pub fn signal(&self, signal: libc::c_int) {
        self.shared.signal(signal);
    }

    /// Waits for the end.
    pub async fn ended(&self) -> ExitStatus {
        let mut receiver = self.shared.ended_watch.subscribe();
        match receiver.wait_for(Option::is_some).await {
            Ok(status) => status.unwrap_or_default(),
            Err(_) => self.status().unwrap_or_default(),
        }
    }

    /// As [`Process::ended`], with a limit.
    pub async fn ended_within(&self, limit: Duration) -> Option<ExitStatus> {
        tokio::time::timeout(limit, self.ended()).await.ok()
    }

    /// Waits for the end without a runtime: for `Drop` and for the end of the process.
    pub fn ended_within_blocking(&self, limit: Duration) -> Option<ExitStatus> {
        self.shared.ended_within_blocking(limit)
    }

    /// Kills the process and its children at once, as if the machine had failed: it is stopped first, so that it can
    /// neither fork another nor learn of a child's death.
    pub fn kill_tree(&self) {
        self.shared.kill_tree();
    }
}

impl Shared {
    pub(super) fn part(&self) {
        self.signal(self.parting_signal);
    }

    pub(super) fn kill_tree(&self) {
        let ended = self.lock();
        if ended.is_some() {
            return;
        }
        send(self.pid, libc::SIGSTOP);
        for child in children_of(self.pid) {
            send(child, libc::SIGKILL);
        }
        send(self.pid, libc::SIGKILL);
    }

    pub(super) fn ended_within_blocking(&self, limit: Duration) -> Option<ExitStatus> {
        let ended = self.lock();
        let (ended, _) = self
            .ended_condition
            .wait_timeout_while(ended, limit, |ended| ended.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        *ended
    }

    fn signal(&self, signal: libc::c_int) {
        let ended = self.lock();
        if ended.is_none() {
            send(self.pid, signal);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<ExitStatus>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, mut child: Child) {
        wait_without_reaping(self.pid);
        let mut ended = self.lock();
        let status = child.wait().unwrap_or_else(|_| ExitStatus::from_raw(0));
        *ended = Some(status);
        drop(ended);
        self.ended_condition.notify_all();
        self.ended_watch.send_replace(Some(status));
    }
}

/// Runs a program to its end, its output in the file `log`.
pub(super) async fn run(
    program: &'static str,
    mut command: Command,
    log: &Path,
) -> Result<(), Error> {
    let open = || File::create(log).map_err(Error::io(format!("write {}", log.display())));
    let output = open()?;
    let errors = output
        .try_clone()
        .map_err(Error::io(format!("write {}", log.display())))?;
    command.stdout(output).stderr(errors);
    // A gentler signal makes these programs remove what they have made so far, while somebody else may do so too.
    let process =
        Process::spawn(command, libc::SIGKILL).map_err(Error::io(format!("run {program}")))?;
    let guard = EndOnDrop(&process);
    let status = process.ended().await;
    drop(guard);
    if status.success() {
        return Ok(());
    }
    Err(Error::ProgramFailed {
        program,
        status: status.to_string(),
        output: tail(log),
    })
}

/// A caller that gives up waiting leaves no program behind.
struct EndOnDrop<'a>(&'a Process);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        if self.0.status().is_none() {
            self.0.kill_tree();
        }
    }
}

/// The last lines of a log.
pub(super) fn tail(log: &Path) -> String {
    const LINES: usize = 15;
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// Sends a signal to a process known to be there.
pub(super) fn send(pid: u32, signal: libc::c_int) {
    // SAFETY: kill has no preconditions; 0 and negative numbers, which mean groups, are excluded.
    if let Ok(pid @ 1..) = libc::pid_t::try_from(pid) {
        unsafe { libc::kill(pid, signal) };
    }
}

/// The processes that `parent` started.
#[cfg(target_os = "linux")]
fn children_of(parent: u32) -> Vec<u32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name in parentheses may hold anything; state and parent follow its end.
            let (_, fields) = stat.rsplit_once(')')?;
            let of: u32 = fields.split_whitespace().nth(1)?.parse().ok()?;
            (of == parent).then_some(pid)
        })
        .collect()
}

/// The processes that `parent` started.
#[cfg(not(target_os = "linux"))]
fn children_of(parent: u32) -> Vec<u32> {
    let Ok(output) = Command::new("ps")
        .args(["-A", "-o", "pid=", "-o", "ppid="])
        .output()
    else {
        return Vec::new();
    };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().map(|word| word.parse::<u32>().ok());
            let (pid, of) = (words.next()??, words.next()??);
            (of == parent).then_some(pid)
        })
        .collect()
}

fn wait_without_reaping(pid: u32) {
    loop {
        // SAFETY: `info` is plain data that waitid fills in.
        let result = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            libc::waitid(
                libc::P_PID,
                pid as libc::id_t,
                &mut info,
                libc::WEXITED | libc::WNOWAIT,
            )
        };
        if result == 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}

type Request = (Command, SyncSender<io::Result<Child>>);

fn spawner() -> io::Result<Sender<Request>> {
    static SPAWNER: OnceLock<Mutex<Sender<Request>>> = OnceLock::new();
    if let Some(sender) = SPAWNER.get() {
        return Ok(sender
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone());
    }
    let (sender, requests) = channel::<Request>();
    std::thread::Builder::new()
        .name("pgweave-spawn".into())
        .spawn(move || {
            for (mut command, reply) in requests {
                let _ = reply.send(command.spawn());
            }
        })?;
    // If two threads come here at once, the loser's thread ends at once, without having forked.
    let sender = SPAWNER.get_or_init(|| Mutex::new(sender));
    Ok(sender
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone())
}
