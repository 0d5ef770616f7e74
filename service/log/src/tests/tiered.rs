//! The mark of a log of which a part was left to the store.

use tidelog_model::Offset;

use super::support::*;
use crate::retention::RetentionPlan;
use crate::sim::{Faults, Operation, SimDisk};
use crate::{Checkpoints, LogConfig};

fn plan(delete_before: i64, log_start: i64) -> RetentionPlan {
    RetentionPlan { delete_before: Offset(delete_before), log_start: Offset(log_start), roll_active: false }
}

#[test]
fn the_mark_is_on_the_disk_before_a_segment_is_left_to_the_store() {
    for seed in 0..64 {
        let disk = SimDisk::new(seed);
        let mut log = create(&disk);
        fill(&mut log, 60, 1000);
        let view = log.view();
        let end = view.flush().unwrap();
        let first = view.segments()[0].end;
        view.apply_retention(&plan(first.0, first.0)).unwrap();
        assert!(!view.is_tiered(), "what is past retention is left to nobody");
        // As it is when the disk goes in the middle of the work.
        if seed % 2 == 0 {
            disk.set_faults(Faults { fail_all: Some(Operation::Name), ..Faults::default() });
        }
        let second = view.segments()[0].end;
        let gone = view.apply_retention(&plan(second.0, first.0));
        assert_eq!(gone.is_err(), seed % 2 == 0);
        disk.set_faults(Faults::default());
        disk.power_cut();
        let checkpoints = Checkpoints { recovery_point: end, log_start: first, ..Checkpoints::default() };
        let (log, _) = open_at(&disk, LogConfig { remote: true, ..config() }, checkpoints).unwrap();
        assert!(log.view().is_tiered(), "seed {seed}");
    }
}

#[test]
fn a_log_whose_older_part_was_found_in_the_store_is_marked() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    fill(&mut log, 5, 1000);
    log.view().flush().unwrap();
    log.view().mark_tiered().unwrap();
    disk.power_cut();
    assert!(open(&disk, 5).unwrap().0.view().is_tiered());
}
