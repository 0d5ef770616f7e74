//! What was acknowledged is there after a stop and after a kill, also for clients that stay connected.

use tidelog_harness::kafka::{PATIENCE, Producer, assigned, read_all, take, texts};
use tidelog_harness::rdkafka::Offset;

use crate::{create, server};

#[test]
fn records_survive_stops_and_kills_and_clients_come_back() {
    let mut server = server();
    create(&server, "kept", 2, &[]);
    let producer = Producer::new(server.kafka(), &[("enable.idempotence", "true"), ("acks", "all")]);
    let follower = assigned(server.kafka(), "kept", &[0, 1], Offset::Beginning);
    let mut expected: [Vec<String>; 2] = [Vec::new(), Vec::new()];
    for (round, kill) in [false, true, true, false].into_iter().enumerate() {
        for (partition, values) in (0i32..).zip(&mut expected) {
            for n in 0..100 {
                let value = format!("{round}-{partition}-{n}");
                producer.send_value("kept", partition, value.as_bytes());
                values.push(value);
            }
        }
        producer.finish_well();
        if kill {
            server.kill()
        } else {
            server.stop()
        }
        server.start_again();
        let read = read_all(server.kafka(), "kept", &[0, 1]);
        for (partition, values) in (0i32..).zip(&expected) {
            assert_eq!(&texts(&read[&partition]), values, "round {round}, partition {partition}");
        }
        // The consumer that was there all the time saw everything once.
        assert_eq!(take(&follower, 200, PATIENCE).len(), 200);
    }
    let log = server.log();
    assert_eq!(log.matches(" ERROR ").count(), 0, "{log}");
}
