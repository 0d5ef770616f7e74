//! The first start on a directory that Apache Kafka 4.3.0 wrote and did not close: its logs are verified whole, in this start or a later one.

use std::path::Path;

use super::*;

const MARK: &str = "unverified-offset-checkpoint";

fn kafkas_directory() -> tempfile::TempDir {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/kafka-4.3.0/log-dir");
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("data");
    std::fs::create_dir(&to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, name) = (entry.as_ref().unwrap().path(), entry.as_ref().unwrap().file_name());
        match path.is_dir() {
            true => copy_folder(&path, &to.join(name)),
            false => drop(std::fs::copy(path, to.join(name)).unwrap()),
        }
    }
    folder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_in_the_middle_of_the_first_start_leaves_nothing_unverified() {
    // No checkpoint takes the mark away while this looks.
    let slow = |options: &mut BrokerOptions| options.checkpoint_interval = Duration::from_secs(3_600);
    let fixture = Fixture::start_with(kafkas_directory(), slow).await;
    let mark = |fixture: &Fixture| std::fs::read_to_string(fixture.directory.path().join("data").join(MARK));
    let left = mark(&fixture).unwrap();
    assert!(left.contains("fixture 0 738") && left.contains("fixture-compact 0 121"), "{left}");
    fixture.broker.write_checkpoints().unwrap();
    assert!(mark(&fixture).is_err(), "it goes when all is verified");
    let directory = fixture.stop().await;

    // Damage below the recovery point, in the records of the first segment.
    let data = directory.path().join("data");
    let segment = data.join("fixture-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let fixture = Fixture::start(directory).await;
    assert!(fixture.broker.is_alive(), "what a stop in order has left is believed");
    let directory = fixture.stop().await;
    // As a kill leaves it.
    std::fs::write(data.join(MARK), left).unwrap();
    let fixture = Fixture::start_with(directory, slow).await;
    assert!(!fixture.broker.is_alive(), "the damage is found");
    fixture.broker.write_checkpoints().unwrap();
    assert_eq!(mark(&fixture).unwrap(), "0\n1\nfixture 0 738\n", "what could not be opened is not verified");
    fixture.replica("fixture-compact", 0);
    fixture.stop().await;
}
