//! ListGroups (key 16): every group that this broker coordinates, by state (KIP-518) and type (KIP-848).

use tidelog_broker::GroupFilter;
use tidelog_protocol::Str;
use tidelog_protocol::messages::{ListGroupsRequest, ListGroupsResponse, ListedGroup};

use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: ListGroupsRequest) -> Result<Waiting, Hangup> {
    let to = request.reply_to();
    let names = |names: Vec<Str>| names.iter().map(|name| name.as_str().to_owned()).collect();
    let filter = GroupFilter { states: names(message.states_filter), types: names(message.types_filter) };
    let (broker, caller) = (request.session.broker.clone(), request.caller.clone());
    drop(request);
    Ok(Box::pin(async move {
        let mut response = ListGroupsResponse::default();
        // Asked when the answer's turn has come, as what is described.
        match broker.list_groups(&caller, filter).await.await {
            Ok(groups) => {
                let listed = groups.into_iter().map(|group| ListedGroup {
                    group_id: Str::from(group.group.as_str()),
                    protocol_type: Str::from(&*group.protocol_type),
                    group_state: Str::from_static(group.state),
                    group_type: Str::from_static(group.kind.name()),
                    ..Default::default()
                });
                response.groups = listed.collect();
            }
            Err(error) => response.error_code = error.error.code(),
        }
        to.answer(&response)
    }))
}
