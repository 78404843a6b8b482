//! Runs a program: an argument vector without a shell, a minimal environment, a time limit, and a limit for
//! the output that is kept.

use std::{
    ffi::OsStr,
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{ChildStdin, Command},
    time,
};

/// `PATH` in the programs' environment.
const SEARCH_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The time limit for reading the output after a program has exited: its child processes may keep it open.
const AFTERWARDS: Duration = Duration::from_millis(200);

/// The limits of one run.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The program and its children are killed after this time.
    pub timeout: Duration,
    /// The number of bytes that are kept of each of its outputs; the last ones, which say how it ended.
    pub output: usize,
}

/// A finished run.
#[derive(Debug)]
pub struct Ended {
    /// How the program exited.
    pub status: ExitStatus,
    /// The end of its standard output.
    pub stdout: Vec<u8>,
    /// The end of its standard error.
    pub stderr: Vec<u8>,
}

impl Ended {
    /// Both outputs as one text.
    pub fn output(&self) -> String {
        format!("{}\n{}", String::from_utf8_lossy(&self.stdout), String::from_utf8_lossy(&self.stderr))
    }
}

/// Why a run has no end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The program can't be started, or its end can't be seen.
    #[error("it can't be run: {0}")]
    System(#[from] io::Error),
    /// The time limit has passed.
    #[error("it was killed after {} s", .0.as_secs())]
    Late(Duration),
}

/// The process group of a run, which is killed when the run is cancelled.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // The group may already be gone.
            let _gone = kill_process_group(group, Signal::KILL).is_err();
        }
    }
}

/// Runs `program` with `arguments` and waits for its end. Processes that it leaves behind run on.
///
/// # Errors
/// [`RunError`]; an exit status other than 0 is not an error.
pub async fn run<A: AsRef<OsStr>>(
    program: &Path,
    arguments: &[A],
    input: Option<&[u8]>,
    limits: Limits,
) -> Result<Ended, RunError> {
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", SEARCH_PATH)
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // In its own process group, so that it can be killed with its children.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
    let mut output = (Vec::new(), Vec::new());
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let status = {
        let reading = async {
            tokio::join!(
                feed(stdin, input.unwrap_or_default()),
                keep(stdout, limits.output, &mut output.0),
                keep(stderr, limits.output, &mut output.1)
            )
        };
        let mut reading = std::pin::pin!(reading);
        let ended = async {
            let mut all_read = false;
            loop {
                tokio::select! {
                    status = child.wait() => {
                        if !all_read {
                            drop(time::timeout(AFTERWARDS, &mut reading).await);
                        }
                        return status;
                    }
                    _ = &mut reading, if !all_read => all_read = true,
                }
            }
        };
        time::timeout(limits.timeout, ended).await
    };
    let Ok(status) = status else { return Err(RunError::Late(limits.timeout)) };
    // The processes that are left were meant to stay, such as a service.
    group.0 = None;
    let (stdout, stderr) = output;
    Ok(Ended { status: status?, stdout, stderr })
}

/// A program that does not read its input says why in its exit status.
async fn feed(stdin: Option<ChildStdin>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        drop(stdin.write_all(input).await);
    }
}

/// Keeps the last bytes but reads everything: a program whose output is not read hangs.
async fn keep(stream: Option<impl AsyncRead + Unpin>, limit: usize, kept: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut chunk).await {
        kept.extend_from_slice(chunk.get(..read).unwrap_or_default());
        let excess = kept.len().saturating_sub(limit);
        kept.drain(..excess);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Instant;

    use super::*;

    async fn shell(text: &str, input: Option<&[u8]>, seconds: f64, output: usize) -> Result<Ended, RunError> {
        let limits = Limits { timeout: Duration::from_secs_f64(seconds), output };
        run(Path::new("/bin/sh"), &["-c", text], input, limits).await
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_killed_with_its_children() {
        let before = Instant::now();
        let marker = format!("{}.{}", 300_000, std::process::id());
        let hangs = format!("sleep {marker} & sleep {marker}");
        let error = shell(&hangs, None, 0.3, 16).await.unwrap_err();
        assert!(error.to_string().contains("it was killed after"), "{error}");
        assert!(before.elapsed() < Duration::from_secs(60));
        time::sleep(Duration::from_millis(200)).await;
        let left = std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
            std::fs::read(process.path().join("cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).starts_with(&format!("sleep\0{marker}")))
        });
        assert!(!left, "a child outlived the time limit");
    }

    #[tokio::test]
    async fn what_it_leaves_running_does_not_hold_it_up() {
        let before = Instant::now();
        let ended = shell("sleep 300 & echo started $!", None, 200.0, 4096).await.unwrap();
        let text = String::from_utf8(ended.stdout).unwrap();
        let left: i32 = text.trim().strip_prefix("started ").unwrap().parse().unwrap();
        assert!(ended.status.success());
        assert!(before.elapsed() < Duration::from_secs(200));
        rustix::process::kill_process(Pid::from_raw(left).unwrap(), Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn much_output_is_read_and_its_end_is_kept() {
        let ended =
            shell("head -c 1000000 /dev/zero | tr '\\0' x; printf end", None, 60.0, 16).await.unwrap();
        assert_eq!(ended.stdout, b"xxxxxxxxxxxxxend");
    }

    #[tokio::test]
    async fn input_reaches_it_and_one_that_reads_none_does_not_hang_us() {
        let large = vec![b'x'; 1_000_000];
        assert_eq!(shell("wc -c", Some(&large), 60.0, 64).await.unwrap().stdout, b"1000000\n");
        assert!(shell("exit 3", Some(&large), 60.0, 64).await.unwrap().status.code() == Some(3));
    }

    #[tokio::test]
    async fn nothing_of_our_environment_is_handed_on() {
        let limits = Limits { timeout: Duration::from_secs(60), output: 4096 };
        let ended = run::<&str>(Path::new("/usr/bin/env"), &[], None, limits).await.unwrap();
        let text = String::from_utf8(ended.stdout).unwrap();
        let mut names: Vec<_> = text.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        names.sort_unstable();
        assert_eq!(names, ["LC_ALL", "PATH"]);
    }
}
