//! `tidelog log dump`: prints files as they are, one line per thing in them. Corrects nothing, and believes no file another.

use std::ffi::OsStr;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use tidelog_log::datadir;
use tidelog_model::PartitionIndex;
use tidelog_record::Record;

use super::files::{self, Line};
use crate::cli::{Format, OutputArgs};
use crate::commands::record_line::write_json;
use crate::output::{counted, existing, note, one_line, time_for_people};

#[derive(Debug, Args)]
pub(crate) struct DumpArgs {
    /// A file, a partition's folder, or a data directory; may be repeated.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Print the records of each batch too.
    #[arg(long)]
    records: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// A key or value for people: text as it is, but what would move the cursor; bytes that are none as escapes; `-` for null.
fn for_people(bytes: Option<&[u8]>) -> String {
    match bytes.map(std::str::from_utf8) {
        None => "-".to_owned(),
        Some(Ok(text)) => one_line(text),
        Some(Err(_)) => bytes.unwrap_or_default().escape_ascii().to_string(),
    }
}

pub(super) fn run(args: &DumpArgs) -> anyhow::Result<()> {
    let mut out = Output {
        out: BufWriter::new(io::stdout().lock()),
        json: args.output.output == Format::Json,
        records: args.records,
        buffer: Vec::new(),
        known: 0,
        damaged: 0,
        cut: 0,
    };
    for path in &args.paths {
        let before = out.known;
        out.path(path)?;
        if out.known == before {
            bail!("{} holds no file that this command knows", path.display());
        }
    }
    out.out.flush()?;
    if out.cut > 0 {
        note(&format!("not counted: {} damaged in .log.cut files, which nobody reads", counted(out.cut, "place")));
    }
    match out.damaged {
        0 => Ok(()),
        1 => bail!("one place is damaged"),
        many => bail!("{many} places are damaged"),
    }
}

/// A line for programs.
#[derive(Serialize)]
struct Row<'a> {
    file: &'a str,
    #[serde(flatten)]
    line: &'a Line,
}

struct Output<W> {
    out: W,
    json: bool,
    records: bool,
    buffer: Vec<u8>,
    /// Files that were looked into.
    known: u64,
    damaged: u64,
    /// Damage in what was cut off: that is why it was.
    cut: usize,
}

impl<W: Write> Output<W> {
    /// A file, or everything in a folder that is ours, by name; folders of partitions after the files beside them.
    fn path(&mut self, path: &Path) -> anyhow::Result<()> {
        let about = std::fs::metadata(existing(path)?).with_context(|| format!("cannot look at {}", path.display()))?;
        if about.is_file() {
            if !self.file(path)? {
                bail!("{} is no file that this command knows", path.display());
            }
            return Ok(());
        }
        let entries = std::fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = entries.with_context(|| format!("cannot list {}", path.display()))?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        let mut partitions = Vec::new();
        for entry in entries {
            let kind = entry.file_type()?;
            let name = entry.file_name();
            if kind.is_file() {
                self.file(&entry.path())?;
            } else if kind.is_dir() && name.to_str().and_then(datadir::parse_directory).is_some() {
                partitions.push(entry.path());
            }
        }
        partitions.iter().try_for_each(|partition| self.path(partition))
    }

    /// False if the name is none of ours.
    fn file(&mut self, path: &Path) -> anyhow::Result<bool> {
        let Some(kind) = path.file_name().and_then(OsStr::to_str).and_then(files::kind) else { return Ok(false) };
        self.known = self.known.saturating_add(1);
        let shown = path.display().to_string();
        if !self.json {
            writeln!(self.out, "{shown}")?;
        }
        let folder = path.parent().and_then(Path::file_name).and_then(OsStr::to_str);
        let partition = folder.and_then(datadir::parse_directory);
        let topic = partition.as_ref().map_or("", |partition| partition.topic.as_str()).to_owned();
        let index = partition.map_or(PartitionIndex(-1), |partition| partition.partition);
        let with_records = self.records;
        files::read(path, kind, with_records, &mut |found| match found {
            files::Found::Line(line) => self.line(&shown, &line),
            files::Found::Record(record) => self.record(&topic, index, &record),
        })
        .with_context(|| format!("cannot read {shown}"))?;
        Ok(true)
    }

    fn line(&mut self, file: &str, line: &Line) -> io::Result<()> {
        if matches!(line, Line::Damage { .. }) {
            match file.contains(".log.cut") {
                true => self.cut = self.cut.saturating_add(1),
                false => self.damaged = self.damaged.saturating_add(1),
            }
        }
        match self.json {
            true => {
                serde_json::to_writer(&mut self.out, &Row { file, line })?;
                self.out.write_all(b"\n")
            }
            false => writeln!(self.out, "  {line}"),
        }
    }

    fn record(&mut self, topic: &str, partition: PartitionIndex, record: &Record) -> io::Result<()> {
        self.buffer.clear();
        match self.json {
            true => write_json(&mut self.buffer, topic, partition, record)?,
            false => {
                let (key, value) = (for_people(record.key.as_deref()), for_people(record.value.as_deref()));
                let time = time_for_people(record.timestamp.get());
                writeln!(self.buffer, "    {}  {time}  {key}  {value}", record.offset)?;
            }
        }
        self.out.write_all(&self.buffer)
    }
}
