//! A reader that knows nothing of commits: it lists the folders `partition=…` and opens every Parquet file that it sees.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// Every Parquet file below a folder, as one listing shows it.
pub(crate) fn parquet_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(parquet_below(&path));
        } else if path.extension().is_some_and(|e| e == "parquet") {
            found.push(path);
        }
    }
    found
}

/// One file as it was read: the rows' offsets and values of `n`, ascending.
struct Read {
    inode: u64,
    partition: i32,
    rows: Vec<(i64, i64)>,
}

pub(crate) struct Lister {
    folder: PathBuf,
    files: BTreeMap<PathBuf, Read>,
    looks: usize,
}

impl Lister {
    pub(crate) fn new(folder: &Path) -> Self {
        Lister { folder: folder.to_owned(), files: BTreeMap::new(), looks: 0 }
    }

    /// Lists, opens what is new or was put again, and checks that no offset is there twice and that none that was seen is gone.
    pub(crate) fn look(&mut self) {
        let listed = parquet_below(&self.folder);
        assert!(listed.len() >= self.files.len(), "a file vanished");
        for path in listed {
            let inode = fs::metadata(&path).unwrap().ino();
            let known = self.files.get(&path);
            if known.is_some_and(|known| known.inode == inode) {
                continue;
            }
            let read = read(&path, inode);
            assert!(known.is_none_or(|known| known.rows == read.rows), "{}: other rows than before", path.display());
            self.files.insert(path, read);
        }
        self.looks += 1;
        let mut ranges: Vec<(i32, i64, i64)> = self.files.values().filter_map(Read::range).collect();
        ranges.sort_unstable();
        for pair in ranges.windows(2) {
            let ((p, _, last), (q, first, _)) = (pair[0], pair[1]);
            assert!(p < q || last < first, "partition {p}: offset {first} is in two files");
        }
    }

    pub(crate) fn looks(&self) -> usize {
        self.looks
    }

    pub(crate) fn files(&self) -> usize {
        self.files.len()
    }

    /// Everything that is there: partition and offset, and `n`.
    pub(crate) fn rows(&self) -> impl Iterator<Item = ((i32, i64), i64)> {
        self.files.values().flat_map(|file| file.rows.iter().map(|(offset, n)| ((file.partition, *offset), *n)))
    }
}

impl Read {
    fn range(&self) -> Option<(i32, i64, i64)> {
        Some((self.partition, self.rows.first()?.0, self.rows.last()?.0))
    }
}

fn read(path: &Path, inode: u64) -> Read {
    let folder = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
    let partition: i32 = folder.strip_prefix("partition=").unwrap().parse().unwrap();
    let file = File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
    let mut rows = Vec::new();
    for batch in reader.unwrap_or_else(|error| panic!("{}: {error}", path.display())) {
        let batch = batch.unwrap();
        let column = |name| batch.column_by_name(name).unwrap();
        let partitions = column("_partition").as_primitive::<Int32Type>().values();
        assert!(partitions.iter().all(|p| *p == partition), "{}: rows of another partition", path.display());
        let offsets = column("_offset").as_primitive::<Int64Type>().values();
        let numbers = column("n").as_primitive::<Float64Type>().values();
        rows.extend(offsets.iter().zip(numbers.iter()).map(|(offset, n)| (*offset, *n as i64)));
    }
    assert!(rows.windows(2).all(|pair| pair[0].0 < pair[1].0), "{}: offsets do not ascend", path.display());
    let name: Vec<&str> = path.file_stem().unwrap().to_str().unwrap().split('+').collect();
    let range: Vec<i64> = name.iter().skip(2).map(|part| part.parse().unwrap()).collect();
    let [first, last] = range.as_slice() else { panic!("{name:?}") };
    assert!(
        rows.first().is_some_and(|row| row.0 >= *first) && rows.last().is_some_and(|row| row.0 <= *last),
        "{name:?}"
    );
    Read { inode, partition, rows }
}
