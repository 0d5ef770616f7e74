//! In through every door: Kafka, REST, gRPC.

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use tidelog_client::{Client, NewRecord, Producer, ProducerOptions};
use tidelog_proto::v1::event_service_client::EventServiceClient;
use tidelog_proto::v1::publish_result::Result as Published;
use tidelog_proto::v1::{NewEvent, PublishRequest};

use super::sample::Event;

/// Events of one gRPC request: well below its size limit.
const EVENTS_PER_CALL: usize = 100;

/// With an idempotent Kafka producer, keyed by id.
pub(super) async fn kafka(client: &Client, topic: &str, events: &[Event]) -> Result<()> {
    let producer = Producer::start(client, ProducerOptions::default()).await?;
    let mut deliveries = Vec::with_capacity(events.len());
    for event in events {
        let record = NewRecord {
            key: Some(Bytes::from(event.id.clone())),
            value: Some(event.json.clone()),
            ..NewRecord::default()
        };
        deliveries.push(producer.send(topic, record).await?);
    }
    producer.flush().await;
    for delivery in deliveries {
        delivery.await?;
    }
    producer.close().await;
    Ok(())
}

/// With one HTTP request of newline-delimited JSON.
pub(super) async fn rest(http: &reqwest::Client, url: &str, topic: &str, events: &[Event]) -> Result<()> {
    let body: Vec<u8> = events.iter().flat_map(|event| event.json.iter().copied().chain([b'\n'])).collect();
    let response = http
        .post(format!("{url}/v1/topics/{topic}/events?key_field=/id"))
        .header("content-type", "application/x-ndjson")
        .body(body)
        .send()
        .await?;
    let status = response.status();
    let answer: serde_json::Value = response.json().await.context("the answer is not JSON")?;
    ensure!(status.is_success(), "REST answered {status}: {answer}");
    let offsets = answer.get("offsets").and_then(|offsets| offsets.as_array()).context("no offsets in the answer")?;
    if let Some(failed) = offsets.iter().find(|offset| offset.get("error_code").is_some()) {
        bail!("REST refused an event: {failed}");
    }
    ensure!(offsets.len() == events.len(), "REST answered {} offsets for {} events", offsets.len(), events.len());
    Ok(())
}

/// With unary calls of the gRPC service.
pub(super) async fn grpc(url: &str, topic: &str, events: &[Event]) -> Result<()> {
    let mut service = EventServiceClient::connect(url.to_owned()).await?;
    for part in events.chunks(EVENTS_PER_CALL) {
        let request = PublishRequest {
            topic: topic.to_owned(),
            events: part
                .iter()
                .map(|event| NewEvent {
                    key: Some(Bytes::from(event.id.clone())),
                    value: Some(event.json.clone()),
                    ..NewEvent::default()
                })
                .collect(),
        };
        for result in service.publish(request).await?.into_inner().results {
            match result.result {
                Some(Published::Position(_)) => {}
                Some(Published::Error(error)) => bail!("gRPC refused an event: {}: {}", error.reason, error.message),
                None => bail!("gRPC answered an empty result"),
            }
        }
    }
    Ok(())
}
