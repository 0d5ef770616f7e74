//! EndTxn (key 26): commits or aborts a transaction. A client that sends version 5 follows KIP-890: it goes on with the epoch that the
//! answer names.

use tidelog_coordinator::transaction::{ClientVersion, EndTransaction, Producer};
use tidelog_protocol::messages::{EndTxnRequest, EndTxnResponse};

use super::transaction_answer::fenced;
use crate::answer::{Hangup, Waiting};
use crate::request::Request;

const FIRST_OF_KIP_890: i16 = 5;

pub(crate) async fn handle(request: Request<'_>, message: EndTxnRequest) -> Result<Waiting, Hangup> {
    let to = request.reply_to();
    let raises = to.version >= FIRST_OF_KIP_890;
    let end = EndTransaction {
        producer: Producer { id: message.producer_id.into(), epoch: message.producer_epoch.into() },
        commit: message.committed,
        version: if raises { ClientVersion::V2 } else { ClientVersion::V0 },
        fresh: None,
    };
    let ticket = request.session.broker.end_transaction(&request.caller, &message.transactional_id, end).await;
    drop(request);
    Ok(Box::pin(async move {
        to.answer(&match ticket.await {
            Ok(producer) => EndTxnResponse {
                producer_id: producer.id.get(),
                producer_epoch: producer.epoch.get(),
                ..Default::default()
            },
            Err(refused) => {
                EndTxnResponse { error_code: fenced(refused.error, to.version >= 2).code(), ..Default::default() }
            }
        })
    }))
}
