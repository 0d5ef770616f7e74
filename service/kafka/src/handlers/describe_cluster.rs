//! DescribeCluster (key 60, KIP-700).

use tidelog_model::KafkaError;
use tidelog_protocol::Str;
use tidelog_protocol::messages::{DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse};

use crate::answer::{Hangup, Waiting};
use crate::request::{Request, sentence};

/// The request asks for brokers (1) or controllers (2, KIP-919).
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(crate) async fn handle(request: Request<'_>, message: DescribeClusterRequest) -> Result<Waiting, Hangup> {
    if message.endpoint_type != BROKERS {
        let error = if message.endpoint_type == CONTROLLERS {
            KafkaError::MismatchedEndpointType
        } else {
            KafkaError::UnsupportedEndpointType
        };
        return request.ready(&DescribeClusterResponse {
            error_code: error.code(),
            error_message: Some(Str::from("this is a broker's listener: ask for brokers")),
            endpoint_type: BROKERS,
            ..Default::default()
        });
    }
    let broker = &request.session.broker;
    let mut response = DescribeClusterResponse { endpoint_type: BROKERS, ..Default::default() };
    match broker.cluster(&request.caller) {
        Ok(cluster) => {
            let (host, port) = request.session.advertised();
            response.cluster_id = Str::from(&cluster.cluster_id);
            response.controller_id = cluster.controller.get();
            response.brokers = cluster
                .brokers
                .iter()
                .map(|node| DescribeClusterBroker {
                    broker_id: node.get(),
                    host: Str::from(&host),
                    port: i32::from(port),
                    ..Default::default()
                })
                .collect();
        }
        Err(error) => {
            response.error_code = error.error.code();
            response.error_message = sentence(&error);
        }
    }
    if message.include_cluster_authorized_operations {
        response.cluster_authorized_operations = broker.cluster_operations(&request.caller);
    }
    request.ready(&response)
}
