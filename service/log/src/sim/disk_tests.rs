use std::io::IoSlice;
use std::path::Path;

use super::*;
use crate::Disk;
use crate::Space;

fn write(disk: &SimDisk, name: &str, position: u64, bytes: &[u8]) {
    let path = Path::new(name);
    let file = disk.open(path, true).or_else(|_| disk.create(path)).unwrap();
    file.write_at(position, &[IoSlice::new(bytes)]).unwrap();
}

fn read(disk: &SimDisk, name: &str) -> Option<Vec<u8>> {
    let file = disk.open(Path::new(name), false).ok()?;
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut bytes).unwrap();
    Some(bytes)
}

#[test]
fn what_is_flushed_survives_and_the_rest_may_not() {
    let (mut lost, mut kept, mut torn, mut no_name) = (0, 0, 0, 0);
    for seed in 0..400 {
        let disk = SimDisk::new(seed);
        write(&disk, "a", 0, &[1; 100]);
        disk.open(Path::new("a"), false).unwrap().flush().unwrap();
        disk.flush_dir(Path::new("")).unwrap();
        write(&disk, "a", 100, &[2; 2000]);
        write(&disk, "b", 0, &[3; 10]);
        assert_eq!(read(&disk, "a").unwrap().len(), 2100);
        let old = disk.open(Path::new("a"), false).unwrap();
        disk.power_cut();
        assert!(old.read_at(0, &mut [0]).is_err(), "handles die");
        let found = read(&disk, "a").unwrap();
        assert_eq!(found[..100], [1; 100]);
        let data = found[100..].iter().take_while(|byte| **byte == 2).count();
        match data {
            0 => lost += 1,
            2000 => kept += 1,
            some => {
                torn += 1;
                assert_eq!((100 + some) % 512, 0, "torn at a sector");
            }
        }
        no_name += usize::from(read(&disk, "b").is_none());
    }
    assert!(lost > 20 && kept > 20 && torn > 20 && no_name > 20, "{lost} {kept} {torn} {no_name}");
}

#[test]
fn a_failed_flush_loses_the_data_for_good() {
    let disk = SimDisk::new(1);
    write(&disk, "a", 0, b"gone");
    disk.flush_dir(Path::new("")).unwrap();
    let file = disk.open(Path::new("a"), true).unwrap();
    disk.set_faults(Faults { fail_all: Some(Operation::Flush), ..Faults::default() });
    file.flush().unwrap_err();
    disk.set_faults(Faults::default());
    file.flush().unwrap();
    assert_eq!(read(&disk, "a").unwrap(), b"gone");
    disk.power_cut();
    assert_eq!(read(&disk, "a").unwrap(), b"");
}

#[test]
fn a_full_disk_takes_a_part() {
    let disk = SimDisk::new(1);
    disk.set_faults(Faults { capacity: Some(7), ..Faults::default() });
    let file = disk.create(Path::new("a")).unwrap();
    let error = file.write_at(0, &[IoSlice::new(b"12345"), IoSlice::new(b"67890")]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(read(&disk, "a").unwrap(), b"1234567");
    assert_eq!(disk.space(Path::new("")), Some(Space { free: 0, total: 7 }));
    // What is there may be written again.
    file.write_at(0, &[IoSlice::new(b"abc")]).unwrap();
}

#[test]
fn directories_take_their_files_along() {
    let disk = SimDisk::new(1);
    disk.create_dir(Path::new("d/e")).unwrap();
    write(&disk, "d/e/f", 0, b"x");
    assert!(disk.remove_dir(Path::new("d/e")).is_err());
    disk.rename(Path::new("d/e"), Path::new("d/g")).unwrap();
    assert_eq!(read(&disk, "d/g/f").unwrap(), b"x");
    assert!(disk.create(Path::new("d/e/f")).is_err(), "no such directory");
    assert_eq!(disk.list(Path::new("d")).unwrap().len(), 1);
}
