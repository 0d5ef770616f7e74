//! Where a new password comes from: a file, the environment, or whoever sits at the terminal, unseen.

use std::io::{self, BufRead, IsTerminal};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::output::{Interrupted, Usage, existing, note};

/// The new password. A file counts before the variable, the variable before the terminal.
pub(super) async fn new(file: Option<&Path>, variable: &str) -> anyhow::Result<String> {
    if let Some(path) = file {
        let text =
            std::fs::read_to_string(existing(path)?).with_context(|| format!("cannot read {}", path.display()))?;
        let Some(password) = first_line(&text) else { bail!("{} holds no password", path.display()) };
        return Ok(password.to_owned());
    }
    if let Some(password) = std::env::var(variable).ok().filter(|password| !password.is_empty()) {
        return Ok(password);
    }
    if !io::stdin().is_terminal() {
        bail!(Usage(format!(
            "the environment variable {variable} is not set; it holds the new password, or --password-file names a file that does"
        )));
    }
    tokio::select! {
        asked = tokio::task::spawn_blocking(ask_twice) => asked?,
        _ = tokio::signal::ctrl_c() => {
            // Who waits for the line never comes to it.
            drop(Silent);
            Err(Interrupted.into())
        }
    }
}

fn ask_twice() -> anyhow::Result<String> {
    let first = ask("New password: ")?;
    if first.is_empty() {
        bail!("a password must not be empty");
    }
    if ask("Again: ")? != first {
        bail!("the two are not the same");
    }
    Ok(first)
}

fn first_line(text: &str) -> Option<&str> {
    text.lines().next().filter(|line| !line.is_empty())
}

/// A line from the terminal, which shows nothing of it.
fn ask(prompt: &str) -> anyhow::Result<String> {
    let _silent = Silent::new()?;
    eprint!("{prompt}");
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    // The line break was not shown either.
    note("");
    read.context("cannot read the password")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// The terminal echoes nothing while this lives.
struct Silent;

impl Silent {
    fn new() -> anyhow::Result<Self> {
        stty("-echo").context("the terminal cannot be kept from showing the password; use --password-file")?;
        Ok(Silent)
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // It worked a moment ago.
        let _ = stty("echo");
    }
}

/// The system's own command: it knows every terminal.
fn stty(setting: &str) -> anyhow::Result<()> {
    let status = Command::new("stty").arg(setting).stdin(Stdio::inherit()).stderr(Stdio::null()).status()?;
    if !status.success() {
        bail!("stty {setting}: {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_one_password_without_its_line_break() {
        assert_eq!(first_line("secret \nmore"), Some("secret "));
        assert_eq!(first_line("secret\r\n"), Some("secret"));
        assert_eq!((first_line(""), first_line("\nsecret")), (None, None));
    }
}
