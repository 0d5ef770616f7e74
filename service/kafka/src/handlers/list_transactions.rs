//! ListTransactions (key 66): the transactional ids that this broker coordinates (KIP-664, 994, 1152).

use tidelog_broker::TransactionFilter;
use tidelog_coordinator::transaction::TransactionListing;
use tidelog_protocol::Str;
use tidelog_protocol::messages::{ListTransactionsRequest, ListTransactionsResponse, ListedTransaction};

use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: ListTransactionsRequest) -> Result<Waiting, Hangup> {
    let to = request.reply_to();
    let filter = TransactionFilter {
        producer_ids: message.producer_id_filters.into_iter().collect(),
        states: message.state_filters.iter().map(|name| name.to_string()).collect(),
        longer_than_ms: (message.duration_filter >= 0).then_some(message.duration_filter),
        pattern: message.transactional_id_pattern.filter(|text| !text.is_empty()).map(|text| text.to_string()),
    };
    let (broker, caller) = (request.session.broker.clone(), request.caller.clone());
    drop(request);
    Ok(Box::pin(async move {
        to.answer(&match broker.list_transactions(&caller, filter).await {
            Ok(listed) => ListTransactionsResponse {
                unknown_state_filters: listed.unknown_states.iter().map(Str::from).collect(),
                transaction_states: listed.listings.iter().map(shown).collect(),
                ..Default::default()
            },
            Err(refused) => ListTransactionsResponse { error_code: refused.error.code(), ..Default::default() },
        })
    }))
}

fn shown(listing: &TransactionListing) -> ListedTransaction {
    ListedTransaction {
        transactional_id: Str::from(listing.id.as_str()),
        producer_id: listing.producer_id.get(),
        transaction_state: Str::from(listing.state.name()),
        ..Default::default()
    }
}
