//! A record of a group that nobody can read: what the server says of it, and how an operator gets the group back.

use std::path::Path;

use tidelog_harness::damage::{append_malformed, append_unreadable};
use tidelog_harness::serde_json::{Value, json};
use tidelog_harness::{Server, wait_until};

use super::{QUICK, alone, server};

/// How often a coordinator could not load.
fn given_up(server: &Server) -> usize {
    server.log().lines().filter(|line| line.contains("cannot load its partition")).count()
}

#[test]
fn an_operator_passes_over_a_position_that_cannot_be_read() {
    let mut server = server();
    server.run(&["topic", "create", "t", "-p", "2"]).expect(0);
    for partition in ["0", "1"] {
        server.run_with(&["produce", "t", "-p", partition], b"a\nb\n").expect(0);
    }
    server.run(&["consume", "t", "--group", "g"]).expect(0);
    server.stop();
    let data = server.data_dir();
    // The key ends with the topic and the partition.
    let bad = append_unreadable(&data, "__consumer_offsets", b"\0\x01g\0\x01t\0\0\0\0");
    let (data, folder) = (data.to_str().unwrap(), bad.folder.to_str().unwrap());
    let partition = Path::new(folder).file_name().unwrap().to_str().unwrap();
    let record = format!("offset {} (key kind 1, value version 99: position of group `g` in t-0)", bad.offset);

    server.start_again();
    wait_until(|| given_up(&server) == 1, QUICK, "the coordinator gives up");
    for part in ["ERROR", partition, &record, "tidelog log repair"] {
        assert!(
            server.log().lines().any(|line| line.contains("cannot load its partition") && line.contains(part)),
            "{part}"
        );
    }
    server.stop();

    let bytes = || std::fs::read(&bad.segment).unwrap();
    let before = bytes();
    let would = alone(&["log", "repair", data]).expect(0);
    let told = format!("{partition}: cannot read the record at {record}; without it, whoever reads there");
    assert!(would.stdout.starts_with(&told) && would.stderr.contains("--forget-unreadable"), "{would:?}");
    // It may be a newer version's: what mends files leaves it.
    let kept = alone(&["log", "repair", data, "--yes", "--output", "json"]).expect(0).json();
    assert_eq!(
        (&kept[0]["unreadable"][0]["forgotten"], &kept[0]["repaired"]),
        (&json!(false), &json!(false)),
        "{kept}"
    );
    let would = alone(&["log", "repair", folder, "--forget-unreadable"]).expect(0);
    assert!(would.stderr.contains("nothing has been changed; --yes"), "{would:?}");
    assert!(bytes() == before, "nothing has changed");
    let done = alone(&["log", "repair", folder, "--forget-unreadable", "--yes"]).expect(0).stdout;
    assert!(done.starts_with(&format!("{partition}: passed over the record at {record}")), "{done}");
    assert!(bytes().starts_with(&before) && bytes().len() > before.len(), "a tombstone was appended");
    let rest = alone(&["log", "repair", data]).expect(0).stdout;
    assert!(rest.starts_with("nothing to repair in "), "{rest}");

    server.start_again();
    let described = server.run(&["group", "describe", "g", "--output", "json"]).expect(0).json();
    let positions = described["positions"].as_array().unwrap();
    let committed: Vec<(&Value, &Value)> = positions.iter().map(|at| (&at["partition"], &at["offset"])).collect();
    assert!(committed.contains(&(&json!(1), &json!(2))), "{described}");
    assert!(!committed.iter().any(|(partition, offset)| **partition == json!(0) && !offset.is_null()), "{described}");
    // From its reset policy, which is the beginning, and only there.
    assert_eq!(server.run(&["consume", "t", "--group", "g"]).expect(0).stdout, "a\nb\n");
    assert_eq!(given_up(&server), 1, "it loads again");
    server.stop();
}

#[test]
fn a_coordinators_log_that_cannot_be_read_as_a_whole_keeps_no_other_partition_from_being_repaired() {
    let mut server = server();
    server.run(&["topic", "create", "t"]).expect(0);
    server.run_with(&["produce", "t"], b"a\n").expect(0);
    server.run_with(&["produce", "t"], b"b\n").expect(0);
    server.run(&["consume", "t", "--group", "g"]).expect(0);
    server.stop();
    let data = server.data_dir();
    let bad = append_malformed(&data, "__consumer_offsets", b"\0\x01g\0\x01t\0\0\0\0");
    // A damage that repair mends by itself, in a partition that it comes to later.
    let log = data.join("t-0/00000000000000000000.log");
    let mut damaged = std::fs::read(&log).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    std::fs::write(&log, &damaged).unwrap();
    let (data, folder) = (data.to_str().unwrap(), bad.folder.to_str().unwrap());
    let partition = Path::new(folder).file_name().unwrap().to_str().unwrap();

    let before = std::fs::read(&bad.segment).unwrap();
    let would = alone(&["log", "repair", data]).expect(0);
    let told = format!("{partition}: the coordinator cannot load the batch at offset {}: ", bad.offset);
    assert!(would.stdout.starts_with(&told) && would.stderr.contains("--forget-unreadable"), "{would:?}");
    assert!(would.stdout.contains("t-0: would end at offset 1: "), "{would:?}");
    // Nor does one that cannot be looked at, but it is told.
    let stray = Path::new(data).join("a-0");
    std::fs::create_dir(&stray).unwrap();
    let would = alone(&["log", "repair", data]).expect(1);
    assert!(would.stdout.starts_with(&told) && would.stdout.contains("t-0: would end at offset 1: "), "{would:?}");
    for part in ["a-0 was not looked at to its end: there is no topic a", "--yes", "1 partition could not be looked at"]
    {
        assert!(would.stderr.contains(part), "{part}: {would:?}");
    }
    assert!(alone(&["log", "repair", stray.to_str().unwrap()]).expect(1).stderr.contains("there is no topic a"));
    std::fs::remove_dir(&stray).unwrap();
    let done = alone(&["log", "repair", data, "--yes", "--output", "json"]).expect(0).json();
    assert_eq!((&done[1]["partition"], &done[1]["repaired"]), (&json!("t-0"), &json!(true)), "{done}");
    assert_eq!((&done[0]["repaired"], &done[0]["unloadable"]["cut"]), (&json!(false), &json!(false)), "{done}");
    assert!(std::fs::read(&bad.segment).unwrap() == before, "it is not cut unless that is asked for");
    let done = alone(&["log", "repair", folder, "--forget-unreadable", "--yes"]).expect(0).stdout;
    let told =
        format!("{partition}: ends now at offset {}, before a batch that the coordinator cannot load: ", bad.offset);
    assert!(done.starts_with(&told), "{done}");
    let kept = std::fs::read(bad.segment.with_added_extension("cut")).unwrap();
    assert!(before.ends_with(&kept) && !kept.is_empty(), "what was cut off is kept");
    let rest = alone(&["log", "repair", data]).expect(0).stdout;
    assert!(rest.starts_with("nothing to repair in "), "{rest}");

    server.start_again();
    let described = server.run(&["group", "describe", "g", "--output", "json"]).expect(0).json();
    assert_eq!(described["positions"][0]["offset"], json!(2), "{described}");
    assert_eq!(given_up(&server), 0, "it loads again");
    server.stop();
}
