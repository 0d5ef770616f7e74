use tidelog_model::{Door, Principal, Timestamp};

use super::*;

fn at(millis: u64) -> Now {
    Now { monotonic: Duration::from_millis(millis), wall: Timestamp(0) }
}

fn caller(user: &str, client_id: &str) -> Caller {
    Caller {
        principal: Principal::user(user),
        host: IpAddr::from([10, 0, 0, 1]),
        client_id: Arc::from(client_id),
        door: Door::Kafka,
    }
}

fn table(entries: &[(&str, QuotaKind, f64)]) -> QuotaTable {
    let mut table = QuotaTable::new();
    for (entity, kind, value) in entries {
        table.entry(entity.parse().unwrap()).or_default().insert(*kind, *value);
    }
    table
}

use QuotaKind::{ConnectionCreationRate, ControllerMutationRate, ProducerByteRate, RequestPercentage};

#[test]
fn the_most_specific_quota_holds_in_kafkas_order() {
    let order = [
        "user=alice,client-id=c",
        "user=alice,client-id=*",
        "user=alice",
        "user=*,client-id=c",
        "user=*,client-id=*",
        "user=*",
        "client-id=c",
        "client-id=*",
    ];
    for first in 0..order.len() {
        let entries: Vec<_> =
            order.iter().enumerate().skip(first).map(|(n, e)| (*e, ProducerByteRate, (n + 1) as f64)).collect();
        let most = Quotas::most(&table(&entries), ProducerByteRate, &caller("alice", "c"));
        assert_eq!(most, Some((first + 1) as f64 * 10.0), "{}", order[first]);
    }
    let table = table(&[("user=bob", ProducerByteRate, 1.0), ("client-id=d", ProducerByteRate, 1.0)]);
    assert_eq!(Quotas::most(&table, ProducerByteRate, &caller("alice", "c")), None);
}

#[test]
fn a_caller_pauses_until_its_average_is_the_quota() {
    let table = table(&[("user=alice", ProducerByteRate, 1000.0)]);
    let (mut quotas, alice) = (Quotas::default(), caller("alice", "c"));
    let mut charge = |now, amount| quotas.charge(at(now), &table, ProducerByteRate, &alice, amount);
    // Ten seconds' worth may come at once.
    assert_eq!(charge(0, 10_000.0), Duration::ZERO);
    assert_eq!(charge(0, 5_000.0), Duration::from_secs(5));
    // As Kafka's, a young count is averaged over ten seconds whenever it is asked.
    assert_eq!(charge(5_000, 0.0), Duration::from_secs(5));
    // The first window is forgotten after eleven seconds.
    assert_eq!(charge(11_000, 10_000.0), Duration::ZERO);
    assert_eq!(charge(11_500, 1_000.0), Duration::from_millis(500));
}

#[test]
fn what_is_taken_back_was_never_used() {
    let table = table(&[("user=*", ProducerByteRate, 100.0)]);
    let (mut quotas, alice) = (Quotas::default(), caller("alice", "c"));
    assert!(quotas.charge(at(0), &table, ProducerByteRate, &alice, 5_000.0) > Duration::ZERO);
    quotas.take_back(at(0), &table, ProducerByteRate, &alice, 5_000.0);
    assert_eq!(quotas.charge(at(0), &table, ProducerByteRate, &alice, 1_000.0), Duration::ZERO);
}

#[test]
fn each_user_and_client_has_a_count_of_its_own_where_the_quota_names_the_part() {
    let table = table(&[("client-id=*", ProducerByteRate, 1.0)]);
    let mut quotas = Quotas::default();
    let mut charge = |user: &str, id: &str| quotas.charge(at(0), &table, ProducerByteRate, &caller(user, id), 8.0);
    assert_eq!(charge("alice", "c"), Duration::ZERO);
    assert_eq!(charge("bob", "d"), Duration::ZERO);
    assert_eq!(charge("bob", "c"), Duration::from_secs(6), "one client id, whoever uses it");
}

#[test]
fn nobody_pauses_longer_than_a_window_for_time_used() {
    let table = table(&[("user=*", RequestPercentage, 10.0)]);
    let pause = Quotas::default().charge(at(0), &table, RequestPercentage, &caller("alice", "c"), 1e6);
    assert_eq!(pause, Duration::from_secs(1));
}

#[test]
fn what_was_used_is_forgotten_after_all_windows() {
    let table = table(&[("user=*", RequestPercentage, 0.001)]);
    let (mut quotas, alice) = (Quotas::default(), caller("alice", "c"));
    quotas.charge(at(500), &table, RequestPercentage, &alice, 1e6);
    let pause = quotas.pause(at(500), &table, RequestPercentage, &alice);
    assert_eq!(pause, Duration::from_secs(11), "not a year");
    assert_eq!(quotas.pause(at(11_500), &table, RequestPercentage, &alice), Duration::ZERO);
}

#[test]
fn mutations_draw_from_a_bucket_that_refills() {
    let table = table(&[("user=alice", ControllerMutationRate, 2.0)]);
    let (mut quotas, alice) = (Quotas::default(), caller("alice", "c"));
    assert_eq!(quotas.charge(at(0), &table, ControllerMutationRate, &alice, 22.0), Duration::ZERO);
    assert_eq!(quotas.charge(at(0), &table, ControllerMutationRate, &alice, 10.0), Duration::from_secs(5));
    assert_eq!(quotas.pause(at(4_000), &table, ControllerMutationRate, &alice), Duration::from_secs(1));
    assert_eq!(quotas.pause(at(5_000), &table, ControllerMutationRate, &alice), Duration::ZERO);
}

#[test]
fn connections_count_by_address() {
    let table = table(&[("ip=10.0.0.1", ConnectionCreationRate, 1.0), ("ip=*", ConnectionCreationRate, 2.0)]);
    let mut quotas = Quotas::default();
    let mut connect = |host: [u8; 4]| {
        let caller = Caller { host: IpAddr::from(host), ..caller("alice", "c") };
        quotas.charge(at(0), &table, ConnectionCreationRate, &caller, 11.0)
    };
    assert_eq!(connect([10, 0, 0, 1]), Duration::from_secs(1));
    assert_eq!(connect([10, 0, 0, 2]), Duration::ZERO);
}

#[test]
fn addresses_of_one_network_count_together_unless_one_has_a_quota() {
    let table = table(&[("ip=*", ConnectionCreationRate, 1.0), ("ip=2001%3Adb8%3A%3A9", ConnectionCreationRate, 1.0)]);
    let mut quotas = Quotas::default();
    let mut connect = |host: &str| {
        let caller = Caller { host: host.parse().unwrap(), ..caller("alice", "c") };
        quotas.charge(at(0), &table, ConnectionCreationRate, &caller, 11.0)
    };
    assert_eq!(connect("2001:db8::1"), Duration::from_secs(1));
    assert_eq!(connect("2001:db8::2:3"), Duration::from_secs(12), "another address of the same network");
    assert_eq!(connect("2001:db8::9"), Duration::from_secs(1), "it has a quota of its own");
    assert_eq!(connect("2001:db8:0:1::1"), Duration::from_secs(1), "another network");
    assert_eq!(connect("10.0.0.1"), Duration::from_secs(1));
    assert_eq!(connect("::ffff:10.0.0.2"), Duration::from_secs(1));
}

#[test]
fn ever_other_addresses_do_not_fill_the_memory() {
    let table = table(&[("ip=*", ConnectionCreationRate, 1.0)]);
    let mut quotas = Quotas::default();
    for n in 0..MAX_COUNTERS + 1_000 {
        let host = IpAddr::from(((0x2001_0db8_u128 << 96) + ((n as u128) << 64)).to_be_bytes());
        let caller = Caller { host, ..caller("alice", "c") };
        quotas.charge(at(0), &table, ConnectionCreationRate, &caller, 1.0);
    }
    assert!(quotas.meters.len() <= MAX_COUNTERS + 1, "{}", quotas.meters.len());
}

#[test]
fn invented_client_ids_do_not_fill_the_memory() {
    let table = table(&[("client-id=*", ProducerByteRate, 1.0)]);
    let mut quotas = Quotas::default();
    for n in 0..MAX_COUNTERS + 1_000 {
        quotas.charge(at(0), &table, ProducerByteRate, &caller("alice", &n.to_string()), 1.0);
    }
    assert!(quotas.meters.len() <= MAX_COUNTERS + 1, "{}", quotas.meters.len());
    // Once they are silent they are forgotten.
    quotas.charge(at(20_000), &table, ProducerByteRate, &caller("alice", "new"), 1.0);
    assert!(quotas.meters.len() < 10, "{}", quotas.meters.len());
}
