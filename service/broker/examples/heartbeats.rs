//! What the report of a member of the consumer protocol costs beside many topics and access rules, and what it costs when the image has just
//! changed.
//!
//! `cargo run --release -p tidelog-broker --example heartbeats`

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidelog_broker::{Broker, BrokerOptions, DataDir, NewTopic};
use tidelog_coordinator::group::{ConsumerHeartbeat, Epoch, GroupId, GroupReply, MemberId};
use tidelog_metadata::decide::{ConfigChange, ConfigOperation};
use tidelog_model::{
    AclBinding, AclOperation, Caller, Door, KafkaError, NodeId, Operation, PatternType, Permission, Principal,
    ResourceType,
};
use tidelog_security::AclDefaults;
use tidelog_store::EmbeddedStore;

/// Topics of one partition each.
const TOPICS: usize = 1_000;

/// Reports of each kind.
const REPORTS: u32 = 500;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let store = EmbeddedStore::open(directory.path()).await?;
    let data_dir = DataDir::open(&directory.path().join("data"), NodeId(1), None)?;
    let mut options = BrokerOptions::new(data_dir.path(), Arc::new(store));
    options.acls = Some(AclDefaults::default());
    let broker = Broker::open(data_dir, options).await?;
    let admin = Caller::internal("bench");
    let reader = Caller {
        principal: Principal::user("reader"),
        host: [127, 0, 0, 1].into(),
        client_id: Arc::from("bench"),
        door: Door::Kafka,
    };
    for first in (0..TOPICS).step_by(100) {
        let topic = |n| NewTopic { name: format!("t{n}"), partitions: Some(1), ..NewTopic::default() };
        let topics = (first..first + 100).map(topic).collect();
        broker.create_topics(&admin, topics, false).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    }
    let rules = vec![
        rule(ResourceType::Topic, PatternType::Prefixed, "t", Operation::Read),
        rule(ResourceType::Group, PatternType::Literal, "g", Operation::Read),
    ];
    broker.create_acls(&admin, rules).await?;
    broker.group_coordinator(&admin, "g").await?;

    let joined = loop {
        let beat = ConsumerHeartbeat {
            topics: Some(vec!["t1".into()]),
            owned: Some(Vec::new()),
            rebalance_timeout_ms: Some(10_000),
            ..report(Epoch::JOIN)
        };
        match broker.consumer_heartbeat(&reader, GroupId::from("g"), beat).await.await {
            Ok(GroupReply::Consumer(Ok(joined))) => break joined,
            Err(error) if error.error == KafkaError::CoordinatorLoadInProgress => {}
            other => return Err(format!("{other:?}").into()),
        }
    };
    let mut steady = Duration::ZERO;
    let mut changed = Duration::ZERO;
    for n in 0..REPORTS {
        steady += beat(&broker, &reader, joined.epoch).await?;
        // A change that no group is interested in.
        let interval = ConfigChange {
            name: "consumer.heartbeat.interval.ms".into(),
            operation: ConfigOperation::Set,
            value: Some((5_000 + n % 2).to_string()),
        };
        broker.alter_group_configs(&admin, "other", vec![interval], false).await?;
        changed += beat(&broker, &reader, joined.epoch).await?;
    }
    println!("{TOPICS} topics: {} us a report", steady.as_micros() / u128::from(REPORTS));
    println!("{TOPICS} topics: {} us a report after a change of the image", changed.as_micros() / u128::from(REPORTS));
    broker.close().await;
    Ok(())
}

async fn beat(broker: &Broker, reader: &Caller, epoch: Epoch) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    match broker.consumer_heartbeat(reader, GroupId::from("g"), report(epoch)).await.await? {
        GroupReply::Consumer(Ok(_)) => Ok(start.elapsed()),
        other => Err(format!("{other:?}").into()),
    }
}

fn report(epoch: Epoch) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        member_id: MemberId::from("m"),
        epoch,
        instance_id: None,
        rack_id: None,
        rebalance_timeout_ms: None,
        topics: None,
        regex: None,
        assignor: None,
        owned: None,
        client_id: Arc::from("bench"),
        client_host: Arc::from("/127.0.0.1"),
        fresh_member_id: Arc::from("fresh"),
        makes_ids: true,
        meant: None,
    }
}

fn rule(resource: ResourceType, pattern: PatternType, name: &str, operation: Operation) -> AclBinding {
    AclBinding {
        resource,
        pattern,
        name: name.into(),
        principal: "User:reader".into(),
        host: "*".into(),
        operation: AclOperation::Only(operation),
        permission: Permission::Allow,
    }
}
