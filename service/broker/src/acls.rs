//! Access rules: describe, create, delete; and the rules in force, which follow the image of the cluster.

use std::fmt;

use tidelog_metadata::decide::{self, AclFilter, Plan, check_acl};
use tidelog_model::{AclBinding, Caller, KafkaError};
use tidelog_security::Operation;
use uuid::Uuid;

use crate::BrokerError;
use crate::about::{Listed, Rule, Rules};
use crate::broker::Broker;

impl Broker {
    /// The rules that a filter means, each once, ascending.
    pub fn describe_acls(&self, caller: &Caller, filter: &AclFilter) -> Result<Vec<AclBinding>, BrokerError> {
        self.may_touch_acls(caller, Operation::Describe, &Rules(filter))?;
        let image = self.image();
        let mut rules: Vec<AclBinding> =
            image.acls().map(|(_, rule)| rule).filter(|rule| filter.matches(rule)).cloned().collect();
        rules.sort_unstable();
        rules.dedup();
        Ok(rules)
    }

    /// Adds rules; results in the request's order. They hold when this answers. One that exists already is fine.
    pub async fn create_acls(
        &self,
        caller: &Caller,
        rules: Vec<AclBinding>,
    ) -> Result<Vec<Result<(), BrokerError>>, BrokerError> {
        let new = Listed(rules.iter().map(Rule));
        self.may_touch_acls(caller, Operation::Alter, &format_args!("new rules {new}"))?;
        let mut results: Vec<Result<(), BrokerError>> =
            rules.iter().map(|rule| check_acl(rule).map_err(BrokerError::from)).collect();
        let good = rules.iter().cloned().zip(&results).filter(|(_, result)| result.is_ok());
        let good: Vec<(Uuid, AclBinding)> = good.map(|(rule, _)| (Uuid::new_v4(), rule)).collect();
        let created = self.cluster_image().carry_out(|image| Ok(((), decide::create_acls(image, &good)?))).await;
        if let Err(error) = created {
            results.iter_mut().filter(|result| result.is_ok()).for_each(|result| *result = Err(error.clone()));
        }
        for (rule, result) in rules.iter().zip(&results) {
            self.audit_change(caller, "CREATE_ACL", &Rule(rule), result);
        }
        Ok(results)
    }

    /// Removes rules; says for each filter which.
    pub async fn delete_acls(
        &self,
        caller: &Caller,
        filters: Vec<AclFilter>,
    ) -> Result<Vec<Vec<AclBinding>>, BrokerError> {
        let meant = Listed(filters.iter().map(Rules));
        self.may_touch_acls(caller, Operation::Alter, &format_args!("no rules {meant}"))?;
        let deleted: Vec<Vec<AclBinding>> = self
            .cluster_image()
            .carry_out(|image| {
                let (found, plan): (_, Plan) = decide::delete_acls(image, &filters);
                Ok((found, plan))
            })
            .await?;
        for rule in deleted.iter().flatten() {
            self.audit_change(caller, "DELETE_ACL", &Rule(rule), &Ok(()));
        }
        Ok(deleted)
    }

    fn may_touch_acls(
        &self,
        caller: &Caller,
        operation: Operation,
        about: &dyn fmt::Display,
    ) -> Result<(), BrokerError> {
        self.may_cluster_about(caller, operation, about)?;
        if !self.has_acls() {
            return Err(BrokerError::new(KafkaError::SecurityDisabled, "No Authorizer is configured."));
        }
        Ok(())
    }
}
