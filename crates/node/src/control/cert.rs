//! Certificates: what becomes of them, and taking them back. Denying needs the issuing authority; looking does not.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::{Extension, Json};
use covenant_cluster::{MemberState, MemberView};
use covenant_identity::{
    DENIALS_MAX, Denial, Denied, NodeGrant, OperatorName, REASON_CHARS_MAX, SignedDenial, TOKEN_LIFETIME_MAX, Taken,
    Verb, renew_at,
};
use covenant_types::{NodeId, NodeName};

use super::caller::{Caller, Done, act};
use super::identity::{issuer, make_token};
use super::{Answer, Control, body, ledger};
use crate::api::cert::{
    CertStatus, DeniedView, Life, MemberCertificate, NodeReplaced, RemoveNode, ReplaceNode, Revoke, Revoked, Whom,
};
use crate::api::{ApiError, ErrorKind};

/// The longest text that can name a node: an id.
const TARGET_BYTES_MAX: usize = 32;

pub(crate) async fn status(State(control): State<Control>, Extension(caller): Extension<Caller>) -> Answer<CertStatus> {
    control.allow(&caller, Verb::CertStatus).await?;
    let now = control.env.wall();
    let certificate = |member: MemberView| MemberCertificate {
        name: member.name,
        id: member.id,
        state: member.state,
        issuer: member.certificate_issuer,
        begins: member.certificate_begins,
        renew_at: renew_at(member.certificate_begins, member.certificate_ends),
        ends: member.certificate_ends,
        life: Life::at(now, member.certificate_begins, member.certificate_ends),
    };
    Ok(Json(CertStatus {
        node: control.config.node.name.clone(),
        now,
        members: control.cluster.members().into_iter().map(certificate).collect(),
        denied: control.credentials.denials().list().iter().map(view).collect(),
        denied_max: DENIALS_MAX,
    }))
}

pub(crate) async fn revoke(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<Revoked> {
    let Revoke { who, reason, dry_run } = body(&bytes)?;
    let plan = async || {
        check_reason(&reason)?;
        let (who, consequences, denied) = match &who {
            Whom::Node(text) => {
                let target = Target::find(&control, text)?;
                (target.to_string(), target.consequences(&control), target.denied())
            }
            Whom::Operator(text) => {
                let name = other_operator(&caller, text)?;
                (format!("the operator {name}"), of_operator(&control, &name), Denied::Operator(name))
            }
        };
        Ok::<_, ApiError>((Revoked { who, consequences, revoked: false }, denied))
    };
    if dry_run {
        control.allow(&caller, Verb::CertRevoke).await?;
        return plan().await.map(|(answer, _)| Json(answer));
    }
    let (Whom::Node(named) | Whom::Operator(named)) = &who;
    act(&control, &caller, Verb::CertRevoke, shortened(named), async {
        let (answer, denied) = plan().await?;
        let after = format!("{} denied; {reason}", answer.who);
        deny(&control, denied, reason.clone(), &caller).await?;
        Ok(Done { answer: Revoked { revoked: true, ..answer }, before: String::new(), after })
    })
    .await
}

pub(crate) async fn remove(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<Revoked> {
    let RemoveNode { node, force, reason, dry_run } = body(&bytes)?;
    let plan = async || {
        check_reason(&reason)?;
        let target = Target::find(&control, &node)?;
        target.may_go(force)?;
        let answer = Revoked { who: target.to_string(), consequences: target.consequences(&control), revoked: false };
        Ok::<_, ApiError>((answer, target))
    };
    if dry_run {
        control.allow(&caller, Verb::NodeRemove).await?;
        return plan().await.map(|(answer, _)| Json(answer));
    }
    act(&control, &caller, Verb::NodeRemove, shortened(&node), async {
        let (answer, target) = plan().await?;
        deny(&control, target.denied(), reason.clone(), &caller).await?;
        let (before, after) = (target.state_word(), format!("{} denied; {reason}", target.id));
        Ok(Done { answer: Revoked { revoked: true, ..answer }, before, after })
    })
    .await
}

pub(crate) async fn replace(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<NodeReplaced> {
    let ReplaceNode { node, force, reason, ttl_s, dry_run } = body(&bytes)?;
    let lifetime = Duration::from_secs(ttl_s);
    let plan = async || {
        check_reason(&reason)?;
        if lifetime.is_zero() || lifetime > TOKEN_LIFETIME_MAX {
            return Err(ApiError::usage("a token holds between one second and seven days; nothing was done"));
        }
        let target = Target::find(&control, &node)?;
        let grant = target.may_be_replaced(&control, force)?;
        let mut consequences = if target.is_denied { Vec::new() } else { target.consequences(&control) };
        consequences.push(format!("a token is made for a new {} {} in {}", grant.role, grant.name, grant.region));
        Ok((NodeReplaced { node: grant.name.clone(), id: target.id, consequences, token: None }, target, grant))
    };
    if dry_run {
        control.allow(&caller, Verb::NodeReplace).await?;
        return plan().await.map(|(answer, ..)| Json(answer));
    }
    act(&control, &caller, Verb::NodeReplace, shortened(&node), async {
        let (answer, target, grant) = plan().await?;
        if !target.is_denied {
            deny(&control, target.denied(), reason.clone(), &caller).await?;
        }
        let (token, said) = make_token(&control, grant, lifetime).await?;
        let (before, after) = (target.state_word(), format!("{} denied; {said}; {reason}", target.id));
        Ok(Done { answer: NodeReplaced { token: Some(token), ..answer }, before, after })
    })
    .await
}

/// Somebody else than the caller.
fn other_operator(caller: &Caller, text: &str) -> Result<OperatorName, ApiError> {
    let name: OperatorName = text.parse().map_err(ApiError::usage)?;
    if matches!(caller, Caller::Operator { name: own, .. } if *own == name) {
        let message = "that is you: have another admin do it, or whoever owns a node on its socket; nothing was done";
        return Err(ApiError::new(ErrorKind::Conflict, message));
    }
    Ok(name)
}

/// A text of somebody else's, short enough for a line of the audit log.
fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

/// A node that somebody wants to be rid of.
struct Target {
    id: NodeId,
    /// What it is, or was.
    grant: Option<NodeGrant>,
    state: Option<MemberState>,
    is_denied: bool,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.grant {
            Some(grant) => write!(f, "{} ({})", grant.name, self.id),
            None => write!(f, "{}", self.id),
        }
    }
}

impl Target {
    /// The node of this name or id: a member, somebody who is denied, or with an id anybody at all.
    fn find(control: &Control, text: &str) -> Result<Self, ApiError> {
        if text.len() > TARGET_BYTES_MAX {
            return Err(ApiError::usage("a node is named by its name or by the 32 digits of its id; nothing was done"));
        }
        let (id, name) = (text.parse::<NodeId>().ok(), text.parse::<NodeName>().ok());
        let is_meant = |member: &MemberView| Some(member.id) == id || Some(&member.name) == name.as_ref();
        let member = control.cluster.members().into_iter().find(is_meant);
        let list = control.credentials.denials().list();
        let was_meant = |signed: &&SignedDenial| match &signed.denial().who {
            Denied::Key { id: denied, grant } => {
                Some(*denied) == id || (name.is_some() && grant.as_ref().map(|grant| &grant.name) == name.as_ref())
            }
            Denied::Operator(_) => false,
        };
        let denied = list.iter().filter(was_meant).max_by_key(|signed| signed.denial().at);
        let target = match (member, denied.map(|signed| &signed.denial().who), id) {
            (Some(member), _, _) => Self {
                id: member.id,
                grant: Some(NodeGrant { name: member.name, role: member.role, region: member.region }),
                state: Some(member.state),
                is_denied: list.of_key(member.id).is_some(),
            },
            (None, Some(Denied::Key { id, grant }), _) => {
                Self { id: *id, grant: grant.clone(), state: None, is_denied: true }
            }
            (None, _, Some(id)) => Self { id, grant: None, state: None, is_denied: false },
            (None, _, None) => {
                let message = format!(
                    "{text:?} is no member here; an id can be given as well, see covenant cert status; nothing was done"
                );
                return Err(ApiError::new(ErrorKind::NotFound, message));
            }
        };
        if target.id == control.id || target.id == control.credentials.issuer() {
            let message =
                format!("{target} is what this node itself stands on: ask another issuing node; nothing was done");
            return Err(ApiError::new(ErrorKind::Refused, message));
        }
        Ok(target)
    }

    fn denied(&self) -> Denied {
        Denied::Key { id: self.id, grant: self.grant.clone() }
    }

    fn state_word(&self) -> String {
        self.state.map(|state| state.to_string()).unwrap_or_default()
    }

    /// Refuses to give up a node that may come back.
    fn may_go(&self, force: bool) -> Result<(), ApiError> {
        match self.state {
            Some(state @ (MemberState::Reachable | MemberState::Unreachable | MemberState::Asleep)) if !force => {
                let message = format!(
                    "{self} is {state}: have it leave, or use --force if it shall never be let in again; nothing was done"
                );
                Err(ApiError::new(ErrorKind::Refused, message))
            }
            _ => Ok(()),
        }
    }

    /// The same for a node whose name shall pass on, which must not be another's already. Returns what its successor is.
    fn may_be_replaced(&self, control: &Control, force: bool) -> Result<NodeGrant, ApiError> {
        let grant = self.grant.clone().ok_or_else(|| {
            let message = format!("nobody here knows what {self} was: revoke it, and make a token; nothing was done");
            ApiError::new(ErrorKind::NotFound, message)
        })?;
        let members = control.cluster.members();
        let holder = members.iter().find(|member| member.name == grant.name && member.id != self.id);
        if let Some(holder) = holder {
            let message = format!("{} has a successor already, {}; nothing was done", holder.name, holder.id);
            return Err(ApiError::new(ErrorKind::Conflict, message));
        }
        self.may_go(force).map(|()| grant)
    }

    /// What follows from denying it.
    fn consequences(&self, control: &Control) -> Vec<String> {
        let mut list = vec![
            "all that can be reached close their connections to it within 5s, and refuse it from then on".to_owned(),
            "calls to its actors fail, and monitors of them fire with noconnection".to_owned(),
            "it cannot be renewed, and its key is never let in again: whoever takes its place is a new node".to_owned(),
        ];
        let voters = ledger::voters_of(control);
        if self.grant.as_ref().is_some_and(|grant| voters.contains(&grant.name)) {
            list.push(match voters.len() {
                1 => "the book is kept there alone: nothing can be booked until it is restored".to_owned(),
                count => {
                    format!("it is one of {count} that keep the book: take its vote with covenant ledger voters remove")
                }
            });
        }
        let members = control.cluster.members();
        let below: Vec<&str> = members
            .iter()
            .filter(|member| member.certificate_issuer == self.id && member.state != MemberState::Removed)
            .map(|member| member.name.as_str())
            .collect();
        if !below.is_empty() {
            list.push(format!("it is an authority, and whom it certified is cut off with it: {}", below.join(", ")));
        }
        list.extend(who_hears_later(&members, self.id));
        list.push("this cannot be taken back".to_owned());
        list
    }
}

fn of_operator(control: &Control, name: &OperatorName) -> Vec<String> {
    let mut list = vec![
        format!("all certificates of {name} up to now end, on every node that can be reached, within 5s"),
        "what they have under way over the control API is cut off".to_owned(),
        format!("a new certificate, from covenant operator create {name}, counts again"),
    ];
    list.extend(who_hears_later(&control.cluster.members(), control.id));
    list.push("this cannot be taken back".to_owned());
    list
}

/// Members that cannot be told now.
fn who_hears_later(members: &[MemberView], but: NodeId) -> Option<String> {
    let silent: Vec<&str> = members
        .iter()
        .filter(|member| {
            member.id != but
                && matches!(member.state, MemberState::Unreachable | MemberState::Asleep | MemberState::Down)
        })
        .map(|member| member.name.as_str())
        .collect();
    (!silent.is_empty()).then(|| format!("who cannot be told now hears of it when it is back: {}", silent.join(", ")))
}

/// Signs, takes in and writes down. From then on it spreads by itself.
async fn deny(control: &Control, who: Denied, reason: String, caller: &Caller) -> Result<(), ApiError> {
    let issuer = issuer(control)?;
    let done_already = || ApiError::new(ErrorKind::Conflict, "that was done already; nothing was done");
    // A key is denied for good; an operator may have got other certificates since.
    if let Denied::Key { id, .. } = &who
        && control.credentials.denials().list().of_key(*id).is_some()
    {
        return Err(done_already());
    }
    let refused =
        |error: &dyn std::fmt::Display| ApiError::new(ErrorKind::Refused, format!("{error}; nothing was done"));
    let denial = Denial { who, at: control.env.wall(), reason, by: caller.to_string() };
    let signed = issuer.deny(denial).map_err(|error| refused(&error))?;
    match control.credentials.deny(signed).map_err(|error| refused(&error))? {
        Taken::New => {}
        Taken::Known => return Err(done_already()),
        Taken::Full => return Err(refused(&format!("{DENIALS_MAX} are denied already, and more are not kept"))),
    }
    let file = Arc::clone(&control.denial_file);
    let written = control.env.blocking(move || file.write()).await.map_err(ApiError::failure)?;
    written.map_err(|error| ApiError::failure(format!("{error}; it counts all the same, and others keep it as well")))
}

fn check_reason(reason: &str) -> Result<(), ApiError> {
    if reason.chars().count() > REASON_CHARS_MAX || reason.chars().any(char::is_control) {
        let message = format!(
            "a reason has at most {REASON_CHARS_MAX} characters, none of them a control character; nothing was done"
        );
        return Err(ApiError::usage(message));
    }
    Ok(())
}

fn view(signed: &SignedDenial) -> DeniedView {
    let Denial { who, at, reason, by } = signed.denial();
    let (id, name) = match who {
        Denied::Key { id, grant } => (Some(*id), grant.as_ref().map(|grant| grant.name.to_string())),
        Denied::Operator(name) => (None, Some(name.to_string())),
    };
    DeniedView { id, name, at: *at, reason: reason.clone(), by: by.clone() }
}
