//! FindCoordinator (key 10): on one node it is always this one; loading shows in the coordinator's own answers.

use tidelog_broker::BrokerError;
use tidelog_model::KafkaError;
use tidelog_protocol::Str;
use tidelog_protocol::messages::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};

use crate::answer::{Hangup, Waiting};
use crate::request::{Request, sentence};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub(crate) async fn handle(request: Request<'_>, message: FindCoordinatorRequest) -> Result<Waiting, Hangup> {
    let several = request.header.version >= 4;
    let keys = if several { message.coordinator_keys } else { vec![message.key] };
    let mut coordinators = Vec::with_capacity(keys.len());
    for key in keys {
        coordinators.push(find(&request, message.key_type, key).await);
    }
    let mut response = FindCoordinatorResponse::default();
    if several {
        response.coordinators = coordinators;
    } else if let Some(only) = coordinators.pop() {
        response.error_code = only.error_code;
        response.error_message = only.error_message;
        response.node_id = only.node_id;
        response.host = only.host;
        response.port = only.port;
    }
    request.ready(&response)
}

async fn find(request: &Request<'_>, key_type: i8, key: Str) -> Coordinator {
    let (broker, caller) = (&request.session.broker, &request.caller);
    let found = match key_type {
        GROUP => broker.group_coordinator(caller, &key).await,
        TRANSACTION => broker.transaction_coordinator(caller, &key).await,
        _ => {
            let message = "only groups and transactions have a coordinator here; share groups are not supported yet";
            Err(BrokerError::new(KafkaError::InvalidRequest, message))
        }
    };
    match found {
        Ok(node) => {
            let (host, port) = request.session.advertised();
            Coordinator {
                key,
                node_id: node.get(),
                host: Str::from(&host),
                port: i32::from(port),
                error_message: None,
                ..Default::default()
            }
        }
        Err(error) => Coordinator {
            key,
            node_id: -1,
            port: -1,
            error_code: error.error.code(),
            error_message: sentence(&error),
            ..Default::default()
        },
    }
}
