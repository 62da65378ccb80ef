//! Which nodes may use an exposed actor, by what their certificates say they are there for.

use covenant_types::{Region, Role};

use crate::RemoteSender;

/// Who of the other nodes may send to an exposed actor, and who may end it.
///
/// What is not allowed here is refused before a byte of the message is read. Ending covers stop, kill and links: a link ends
/// the actor with the other node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Callers {
    send: Roles,
    control: Roles,
    region: Option<Region>,
}

/// A set of roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Roles(u8);

impl Callers {
    /// Nodes of every role may send, and none may end it.
    pub fn any() -> Self {
        Self::roles(Role::ALL)
    }

    /// Nodes of these roles may send, and none may end it.
    pub fn roles(roles: &[Role]) -> Self {
        Self { send: Roles::of(roles), control: Roles::of(&[]), region: None }
    }

    /// And nodes of these roles may end it.
    #[must_use]
    pub fn ended_by(self, roles: &[Role]) -> Self {
        Self { control: Roles::of(roles), ..self }
    }

    /// And only where they stand in this region.
    #[must_use]
    pub fn within(self, region: Region) -> Self {
        Self { region: Some(region), ..self }
    }

    /// Whether this node may send.
    pub fn may_send(&self, sender: &RemoteSender) -> bool {
        self.send.has(sender.role) && self.is_near(sender)
    }

    /// Whether this node may stop it, kill it, or link one of its actors with it.
    pub fn may_end(&self, sender: &RemoteSender) -> bool {
        self.control.has(sender.role) && self.is_near(sender)
    }

    fn is_near(&self, sender: &RemoteSender) -> bool {
        self.region.is_none_or(|region| region == sender.region)
    }
}

impl Roles {
    fn of(roles: &[Role]) -> Self {
        Self(roles.iter().fold(0, |set, role| set | Self::bit(*role)))
    }

    fn has(self, role: Role) -> bool {
        self.0 & Self::bit(role) != 0
    }

    fn bit(role: Role) -> u8 {
        match role {
            Role::Hub => 1,
            Role::Tower => 2,
            Role::Voter => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use covenant_types::{NodeId, NodeName};

    use super::*;

    fn sender(role: Role, region: Region) -> RemoteSender {
        RemoteSender { node: NodeId([1; 16]), name: NodeName::new("one").unwrap(), role, region }
    }

    #[test]
    fn a_role_may_do_what_was_said_of_it_and_nothing_else() {
        let callers = Callers::roles(&[Role::Hub, Role::Tower]).ended_by(&[Role::Hub]);
        let may = |role| {
            let sender = sender(role, Region::Asia);
            (callers.may_send(&sender), callers.may_end(&sender))
        };
        assert_eq!([may(Role::Hub), may(Role::Tower), may(Role::Voter)], [(true, true), (true, false), (false, false)]);
        let any = Role::ALL.iter().map(|role| sender(*role, Region::Asia));
        assert!(any.into_iter().all(|sender| Callers::any().may_send(&sender) && !Callers::any().may_end(&sender)));
    }

    #[test]
    fn a_region_keeps_the_others_out() {
        let callers = Callers::any().ended_by(Role::ALL).within(Region::Asia);
        let (near, far) = (sender(Role::Hub, Region::Asia), sender(Role::Hub, Region::Europe));
        assert!(callers.may_send(&near) && callers.may_end(&near));
        assert!(!callers.may_send(&far) && !callers.may_end(&far));
    }
}
