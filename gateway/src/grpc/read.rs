//! Read: a server stream of events from offsets or times, to the end or with `follow` as they arrive.

use std::sync::Arc;

use prost::Message;
use tidelog_broker::TopicRef;
use tidelog_model::PartitionIndex;
use tidelog_proto::v1;
use tokio::time::Instant;
use tonic::Status;

use super::convert;
use super::event_service::Answers;
use crate::context::{Session, Shared};
use crate::error::grpc_status;
use crate::events::position::Positions;
use crate::events::read::{Fill, Item, Patience, Reader};
use crate::events::start;
use crate::limits::{FOLLOW_WAIT, MAX_READ_RESPONSE_BYTES};

struct State {
    reader: Reader,
    patience: Patience,
    topic: String,
    left: Option<i64>,
    over: bool,
}

/// Starts to read.
pub(super) async fn run(
    context: &Shared,
    session: Session,
    request: v1::ReadRequest,
) -> Result<Answers<v1::ReadResponse>, Status> {
    if request.limit < 0 {
        return Err(convert::invalid("limit must not be negative."));
    }
    let name = TopicRef::from(request.topic.as_str());
    let caller = &session.caller;
    let broker = &context.broker;
    let described = broker.topic(caller, &name).map_err(|error| grpc_status(&error))?;
    let topic = TopicRef::Id(described.id);
    let named: Vec<PartitionIndex> = request.partitions.iter().map(|part| PartitionIndex(part.partition)).collect();
    let partitions = start::partitions(&described, &named).map_err(|error| grpc_status(&error))?;
    let common = convert::start(request.start.as_ref())?;
    let mut starts = Positions::new();
    if named.is_empty() {
        let resolved = start::resolve(broker, caller, &topic, &partitions, &common, false).await;
        starts = resolved.map_err(|error| grpc_status(&error))?;
    }
    for part in &request.partitions {
        let own = match &part.start {
            Some(own) => convert::start(Some(own))?,
            None => common.clone(),
        };
        let partition = [PartitionIndex(part.partition)];
        let resolved = start::resolve(broker, caller, &topic, &partition, &own, true).await;
        starts.append(&mut resolved.map_err(|error| grpc_status(&error))?);
    }
    let mut reader = Reader::new(broker.clone(), Arc::clone(caller), topic.clone(), &starts, context.answers.clone());
    if !request.follow {
        let ends = start::ends(broker, caller, &topic, &partitions).await.map_err(|error| grpc_status(&error))?;
        reader = reader.until(&ends);
    }
    let state = State {
        reader,
        patience: Patience::default(),
        topic: described.name.as_str().to_owned(),
        left: (request.limit > 0).then_some(request.limit),
        over: false,
    };
    let ended = Box::pin(Session::ended(session.expires, context.shutdown.clone()));
    Ok(Box::pin(futures::stream::unfold((state, ended), |(mut state, mut ended)| async move {
        if state.over {
            return None;
        }
        let response = tokio::select! {
            response = state.next() => response,
            ended = &mut ended => Err(ended.status()),
        };
        match response {
            Ok(Some(response)) => Some((Ok(response), (state, ended))),
            Ok(None) => None,
            Err(status) => {
                state.over = true;
                Some((Err(status), (state, ended)))
            }
        }
    })))
}

impl State {
    /// The next message, as large as what is at hand but not larger than clients accept.
    async fn next(&mut self) -> Result<Option<v1::ReadResponse>, Status> {
        let mut response = v1::ReadResponse::default();
        let mut size = 0;
        while self.left != Some(0) && size < MAX_READ_RESPONSE_BYTES {
            match self.reader.next_item() {
                Some(Ok((partition, item))) => match item {
                    Item::Record(record) => {
                        let event = convert::event(&self.topic, partition, record);
                        size += event.encoded_len();
                        response.events.push(event);
                        self.left = self.left.map(|left| left - 1);
                    }
                    Item::Undecodable(gap) => response.undecodable.push(v1::UndecodableBatch {
                        partition: partition.0,
                        base_offset: gap.base_offset.0,
                        last_offset: gap.last_offset.0,
                        message: gap.message,
                    }),
                    Item::Gap(..) => {}
                },
                Some(Err(error)) => return Err(grpc_status(&error)),
                None if !is_empty(&response) => break,
                None => {
                    let fill = self.reader.fill(FOLLOW_WAIT).await.map_err(|error| grpc_status(&error))?;
                    self.patience.after(Instant::now(), fill).map_err(|error| grpc_status(&error))?;
                    if fill == Fill::Ended {
                        break;
                    }
                }
            }
        }
        Ok((!is_empty(&response)).then_some(response))
    }
}

fn is_empty(response: &v1::ReadResponse) -> bool {
    response.events.is_empty() && response.undecodable.is_empty()
}
