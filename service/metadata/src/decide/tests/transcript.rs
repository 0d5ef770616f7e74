//! Scenarios as text: what is asked, and the transactions that follow. `UPDATE_TRANSCRIPTS=1` rewrites the texts; read the diff.

use std::path::Path;

use super::world::{World, given, new_topic};
use crate::decide::*;
use crate::port::{Transaction, Write};

#[derive(Default)]
struct Transcript(String);

impl Transcript {
    fn compare(&self, file: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/decide/tests").join(file);
        if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
            std::fs::write(&path, &self.0).unwrap();
        }
        let known = std::fs::read_to_string(&path).unwrap();
        assert!(self.0 == known, "{file} differs; it is now:\n{}", self.0);
    }

    fn line(&mut self, line: impl AsRef<str>) {
        self.0.push_str(line.as_ref());
        self.0.push('\n');
    }

    fn transaction(&mut self, transaction: &Transaction) {
        for compare in &transaction.compares {
            self.line(format!("  if {} is {}", compare.key, compare.mod_revision));
        }
        for write in &transaction.writes {
            match write {
                Write::Put { key, value, .. } => self.line(format!("  put {key} {}", String::from_utf8_lossy(value))),
                Write::Delete { key } => self.line(format!("  delete {key}")),
            }
        }
    }

    fn run(&mut self, world: &mut World, asked: &str, decided: Result<Plan, Refusal>) {
        self.line(format!("{asked}:"));
        let mut plan = match decided {
            Ok(plan) => plan,
            Err(refusal) => return self.line(format!("  {refusal}")),
        };
        while let Some(transaction) = plan.next() {
            self.transaction(&transaction);
            let done = world.step(&mut plan);
            self.line(if done { format!("  = {}", world.revision) } else { "  = conflict".into() });
            if !done {
                return;
            }
        }
    }
}

#[test]
fn a_topics_life() {
    let mut world = World::with_brokers(1);
    let mut text = Transcript::default();
    let request = NewTopic { configs: given(&[("retention.ms", "1000")]), ..new_topic("orders", 2) };
    let created = world.decide(std::slice::from_ref(&request)).pop().unwrap().map(|topic| topic.plan);
    let late = world.decide(std::slice::from_ref(&request)).pop().unwrap().map(|topic| topic.plan);
    text.run(&mut world, "create orders, 2 partitions", created);
    text.run(&mut world, "create orders, decided at the same time", late);
    let again = world.decide(&[request]).pop().unwrap().map(|topic| topic.plan);
    text.run(&mut world, "create orders again", again);
    let change = ConfigChange {
        name: "cleanup.policy".into(),
        operation: ConfigOperation::Append,
        value: Some("compact".into()),
    };
    let altered = alter_topic_configs(&world.image, world.settings(), "orders", &vec![change].into(), None);
    text.run(&mut world, "append compact to cleanup.policy", altered.map(|txn| txn.map(Plan::of).unwrap_or_default()));
    let more = create_partitions(&world.image, "orders", 3, None);
    text.run(&mut world, "3 partitions", more);
    let deleted = delete_topic(&world.image, world.settings(), TopicRef::Name("orders"));
    text.run(&mut world, "delete orders", deleted);
    let id = world.image.deletions().next().unwrap().0;
    let finished = finish_deletion(&world.image, id).unwrap();
    text.run(&mut world, "its remains are gone", Ok(finished));
    text.compare("topic_life.txt");
}

#[test]
fn a_start() {
    let mut world = World::with_brokers(1);
    world.create(new_topic("t", 1));
    world.stop(tidelog_model::NodeId(1));
    let mut text = Transcript::default();
    let registration = world.registration(tidelog_model::NodeId(1));
    let register = register_broker(&world.image, &registration).map(Plan::of);
    text.run(&mut world, "broker 1 registers", register);
    let epoch = world.image.broker_epoch(registration.node).unwrap();
    let claim = claim_controller(&world.image, registration.node, epoch, registration.lease).unwrap();
    text.run(&mut world, "it claims the controller's role", Ok(Plan::of(claim)));
    for lead in start_leading(&world.image, registration.node, epoch, LastStop::Complete) {
        text.run(&mut world, "it takes its partitions", Ok(Plan::of(lead)));
    }
    text.compare("start.txt");
}
