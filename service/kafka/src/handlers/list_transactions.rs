//! ListTransactions (key 66): the transactional ids that this broker coordinates (KIP-664, 994, 1152).

use tidelog_broker::TransactionFilter;
use tidelog_coordinator::transaction::TransactionState;
use tidelog_protocol::Str;
use tidelog_protocol::messages::{ListTransactionsRequest, ListTransactionsResponse, ListedTransaction};

use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: ListTransactionsRequest) -> Result<Waiting, Hangup> {
    let to = request.reply_to();
    let mut filter = TransactionFilter {
        producer_ids: message.producer_id_filters,
        states: Vec::new(),
        longer_than_ms: (message.duration_filter >= 0).then_some(message.duration_filter),
        pattern: message.transactional_id_pattern.filter(|text| !text.is_empty()).map(|text| text.to_string()),
    };
    let mut response = ListTransactionsResponse::default();
    let some_states = !message.state_filters.is_empty();
    for name in message.state_filters {
        match TransactionState::from_name(&name) {
            Some(state) => filter.states.push(state),
            None => response.unknown_state_filters.push(name),
        }
    }
    let (broker, caller) = (request.session.broker.clone(), request.caller.clone());
    drop(request);
    Ok(Box::pin(async move {
        if some_states && filter.states.is_empty() {
            // No transaction is in a state that does not exist.
            return to.answer(&response);
        }
        match broker.list_transactions(&caller, &filter).await {
            Ok(listed) => {
                response.transaction_states = listed
                    .into_iter()
                    .map(|listing| ListedTransaction {
                        transactional_id: Str::from(listing.id.as_str()),
                        producer_id: listing.producer_id.get(),
                        transaction_state: Str::from(listing.state.name()),
                        ..Default::default()
                    })
                    .collect();
            }
            Err(refused) => response.error_code = refused.error.code(),
        }
        to.answer(&response)
    }))
}
