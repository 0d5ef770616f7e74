//! Making written batches durable, from any thread while the writer goes on. It decides what a flush covers: everything
//! written before it began, new names included, nothing that came later.
//!
//! One by one: [`LogView::flush`]. Many logs by one `syncfs`: [`LogView::capture`] and [`FlushTicket::prepare`] for each,
//! then the `syncfs`, then [`LogView::complete`] for each. A failed flush is never tried again: the log goes offline.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tidelog_model::Offset;

use crate::LogError;
use crate::disk::{Disk, DiskFile, put_file, replace_file, unlink_if_there};
use crate::names::{LEADER_EPOCHS, UNSETTLED};
use crate::state::Shared;
use crate::view::LogView;

/// What one flush has to make durable. Without [`LogView::complete`] it proves nothing and changes nothing.
#[derive(Debug)]
pub struct FlushTicket {
    shared: Arc<Shared>,
    /// The written end when the ticket was taken.
    end: Offset,
    files: Vec<Arc<dyn DiskFile>>,
    closed_before: u64,
    active_version: u64,
    names_version: u64,
    flush_names: bool,
    new_directory: bool,
    epochs_version: Option<u64>,
    truncations: u64,
}

impl FlushTicket {
    /// Everything below this offset is durable once the ticket is completed.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// How many files and directories [`FlushTicket::sync`] will flush.
    pub fn work(&self) -> usize {
        self.files.len() + usize::from(self.flush_names) + usize::from(self.new_directory)
    }

    /// What has to be written before a `syncfs` stands for [`FlushTicket::sync`]: the leader epochs. Until that call has ended a power cut
    /// may leave them torn; then the batches tell. Where they do not tell everything, nothing is left to that call.
    pub fn prepare(&self) -> io::Result<()> {
        let told = self.shared.state.read().batches_tell_epochs();
        self.write_epochs(if told { put_file } else { replace_file })
    }

    /// Replaces `leader-epoch-checkpoint` if epochs have begun and the last of them has records: until then a start knows as much without
    /// the file, and every start begins an epoch of every log.
    fn write_epochs(&self, replace: impl FnOnce(&dyn Disk, &Path, &[u8]) -> io::Result<()>) -> io::Result<()> {
        if self.epochs_version.is_none() {
            return Ok(());
        }
        let _one_at_a_time = self.shared.epochs_file.lock();
        let (text, version) = {
            let state = self.shared.state.read();
            if state.epochs.latest().is_some_and(|latest| latest.start >= state.log_end()) {
                return Ok(());
            }
            (state.epochs.encode(), state.epochs_version)
        };
        replace(&*self.shared.disk, &self.shared.directory.join(LEADER_EPOCHS), text.as_bytes())?;
        self.shared.state.write().epochs_written = version;
        Ok(())
    }

    /// Flushes one by one: the leader epochs, the directories of new names, then every file, oldest first.
    pub fn sync(&self) -> io::Result<()> {
        self.write_epochs(replace_file)?;
        let directory = &self.shared.directory;
        if self.new_directory {
            self.shared.disk.flush_dir(directory.parent().unwrap_or(Path::new(".")))?;
        }
        if self.flush_names {
            self.shared.disk.flush_dir(directory)?;
        }
        self.files.iter().try_for_each(|file| file.flush())
    }
}

/// Tells the next start that the page cache may hold what no disk has, or will not keep.
pub(crate) fn mark_unsettled(disk: &dyn Disk, directory: &Path) -> Result<(), LogError> {
    let marker = directory.join(UNSETTLED);
    disk.create(&marker).map(drop).map_err(LogError::io("cannot create", &marker))
}

/// Takes the mark away: everything is on the disk.
pub(crate) fn unmark(disk: &dyn Disk, directory: &Path) -> Result<(), LogError> {
    let marker = directory.join(UNSETTLED);
    unlink_if_there(disk, &marker).map_err(LogError::io("cannot remove", &marker))
}

impl LogView {
    /// Flushes everything written so far; returns the flushed end. After a failure the log is offline.
    pub fn flush(&self) -> Result<Offset, LogError> {
        let ticket = self.capture()?;
        match ticket.sync() {
            Ok(()) => Ok(self.complete(ticket)),
            Err(source) => {
                self.flush_failed(&io::Error::new(source.kind(), format!("a flush failed: {source}")));
                Err(LogError::Io { action: "cannot flush", path: self.shared.directory.clone(), source })
            }
        }
    }

    /// Takes note of what is written but not flushed.
    pub fn capture(&self) -> Result<FlushTicket, LogError> {
        self.check_online()?;
        let state = self.shared.state.read();
        let unflushed = &state.unflushed;
        let mut files: Vec<_> = unflushed.files.iter().map(|(_, file)| Arc::clone(file)).collect();
        if unflushed.active_version != unflushed.active_flushed {
            files.extend(state.active.txn_file.clone());
            files.push(Arc::clone(&state.active.file));
        }
        Ok(FlushTicket {
            shared: Arc::clone(&self.shared),
            end: state.log_end(),
            files,
            closed_before: unflushed.next_number,
            active_version: unflushed.active_version,
            names_version: unflushed.names_version,
            flush_names: unflushed.names_version != unflushed.names_flushed,
            new_directory: unflushed.new_directory,
            epochs_version: (state.epochs_version != state.epochs_written).then_some(state.epochs_version),
            truncations: state.truncations,
        })
    }

    /// A flush of this log, or the `syncfs` that stood for it, failed: the log goes offline, with the error as its reason.
    ///
    /// The kernel may count the lost pages as clean from now on, so the next start must write them again before it trusts a flush. A
    /// file in the log's directory tells it so.
    pub fn flush_failed(&self, error: &io::Error) {
        if let Err(second) = mark_unsettled(&*self.shared.disk, &self.shared.directory) {
            tracing::error!(error = %second, "the failed flush cannot be marked");
        }
        self.take_offline(&error.to_string());
    }

    /// The ticket's work is done and durable; returns the flushed end.
    pub fn complete(&self, ticket: FlushTicket) -> Offset {
        let (end, marked) = self.complete_locked(ticket);
        if marked && let Err(error) = unmark(&*self.shared.disk, &self.shared.directory) {
            tracing::warn!(%error, "the next start will write again what is durable already");
        }
        end
    }

    fn complete_locked(&self, ticket: FlushTicket) -> (Offset, bool) {
        let mut state = self.shared.state.write();
        if state.truncations != ticket.truncations || state.offline.is_some() {
            return (state.flushed_end, false);
        }
        let unflushed = &mut state.unflushed;
        unflushed.files.retain(|(number, _)| *number >= ticket.closed_before);
        unflushed.active_flushed = unflushed.active_flushed.max(ticket.active_version);
        unflushed.names_flushed = unflushed.names_flushed.max(ticket.names_version);
        unflushed.new_directory &= !ticket.new_directory;
        let marked = std::mem::take(&mut unflushed.marked);
        state.flushed_end = state.flushed_end.max(ticket.end);
        (state.flushed_end, marked)
    }
}
