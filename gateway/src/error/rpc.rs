//! gRPC errors with google.rpc.ErrorInfo: the reason is Kafka's name of the error; and RetryInfo where a quota is exceeded. Decides the details' bytes only.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tidelog_broker::BrokerError;
use tidelog_model::KafkaError;
use tonic::Status;

use super::grpc_code;

/// google.rpc.Status, as `grpc-status-details-bin` carries it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<prost_types::Any>,
}

/// google.rpc.ErrorInfo.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ErrorInfo {
    #[prost(string, tag = "1")]
    pub(crate) reason: String,
    #[prost(string, tag = "2")]
    pub(crate) domain: String,
    #[prost(map = "string, string", tag = "3")]
    pub(crate) metadata: HashMap<String, String>,
}

/// google.rpc.RetryInfo.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub(crate) retry_delay: Option<prost_types::Duration>,
}

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
const DOMAIN: &str = "tidelog";

/// The status of an error of a use case.
pub(crate) fn grpc_status(error: &BrokerError) -> Status {
    let mut metadata = HashMap::new();
    if let Some(leader) = error.leader {
        metadata.insert("leader_id".to_owned(), leader.node.0.to_string());
        metadata.insert("leader_epoch".to_owned(), leader.epoch.0.to_string());
    }
    with_info(error.error, &error.message, metadata, error.pause)
}

/// The status of an error that the gateway itself found.
pub(crate) fn grpc_error(error: KafkaError, message: &str) -> Status {
    with_info(error, message, HashMap::new(), None)
}

fn with_info(error: KafkaError, message: &str, metadata: HashMap<String, String>, pause: Option<Duration>) -> Status {
    let code = grpc_code(error);
    let info = ErrorInfo { reason: error.name().to_owned(), domain: DOMAIN.to_owned(), metadata };
    let mut details = vec![prost_types::Any { type_url: ERROR_INFO.to_owned(), value: info.encode_to_vec() }];
    if let Some(delay) = pause.and_then(|pause| prost_types::Duration::try_from(pause).ok()) {
        let retry = RetryInfo { retry_delay: Some(delay) };
        details.push(prost_types::Any { type_url: RETRY_INFO.to_owned(), value: retry.encode_to_vec() });
    }
    let details = RpcStatus { code: code as i32, message: message.to_owned(), details };
    Status::with_details(code, message, Bytes::from(details.encode_to_vec()))
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn reflection_knows_the_details() {
        let files = prost_types::FileDescriptorSet::decode(tidelog_proto::v1::FILE_DESCRIPTOR_SET).unwrap().file;
        let file = files.iter().find(|file| file.package() == "google.rpc").unwrap();
        let info = file.message_type.iter().find(|message| message.name() == "ErrorInfo").unwrap();
        let fields: Vec<_> = info.field.iter().map(|field| (field.name(), field.number())).collect();
        assert_eq!(fields, [("reason", 1), ("domain", 2), ("metadata", 3)]);
        let retry = file.message_type.iter().find(|message| message.name() == "RetryInfo").unwrap();
        let fields: Vec<_> = retry.field.iter().map(|field| (field.name(), field.number())).collect();
        assert_eq!(fields, [("retry_delay", 1)]);
    }

    #[test]
    fn who_is_beyond_a_quota_hears_for_how_long() {
        let exceeded = BrokerError::from(KafkaError::ThrottlingQuotaExceeded);
        let details = |error: &BrokerError| RpcStatus::decode(grpc_status(error).details()).unwrap().details;
        assert_eq!(details(&exceeded).len(), 1);
        let pause = Some(Duration::from_millis(2_500));
        let details = details(&BrokerError { pause, ..exceeded });
        assert_eq!(details[1].type_url, RETRY_INFO);
        let retry = RetryInfo::decode(&*details[1].value).unwrap();
        assert_eq!(retry.retry_delay, Some(prost_types::Duration { seconds: 2, nanos: 500_000_000 }));
    }

    #[test]
    fn details_name_kafkas_error() {
        let status = grpc_error(KafkaError::UnknownTopicOrPartition, "no such topic");
        assert_eq!(status.code(), Code::NotFound);
        let details = RpcStatus::decode(status.details()).unwrap();
        assert_eq!((details.code, details.message.as_str()), (5, "no such topic"));
        let any = details.details.first().unwrap();
        assert_eq!(any.type_url, ERROR_INFO);
        let info = ErrorInfo::decode(&*any.value).unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("UNKNOWN_TOPIC_OR_PARTITION", "tidelog"));
    }
}
