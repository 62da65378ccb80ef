//! Authorities and certificates. Roots' keys never come here: they sign where they are kept, and what they signed is brought.

use std::fmt::Write;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::{Extension, Json};
use covenant_identity::{Adoption, HISTORY_BYTES_MAX, TrustedRoots, Verb, fingerprint, root_print};
use covenant_types::{Role, WallTime};

use super::caller::{Caller, Done, act};
use super::{Answer, Control, body};
use crate::api::ca::{
    AdoptRoots, AuthorityInstalled, AuthorityRequested, CaMember, CaView, CertificateRotated, InstallAuthority,
    IssuingView, RootView, RootsAdopted,
};
use crate::api::{ApiError, ErrorKind};
use crate::issuer::DeskError;
use crate::rotation::{consequences, has_same_roots, lacking, standing_in_the_way};

/// The longest request with statements: a byte takes up to four characters.
pub(crate) const ROOTS_BODY_MAX: usize = 4 * HISTORY_BYTES_MAX + 1024;

pub(crate) async fn view(State(control): State<Control>, Extension(caller): Extension<Caller>) -> Answer<CaView> {
    control.allow(&caller, Verb::Status).await?;
    let trusted = control.credentials.trusted();
    let first = root_print(&trusted.roots()[0]);
    let root = |certificate: &Vec<u8>, until: WallTime| RootView {
        fingerprint: hex(&fingerprint(certificate)),
        certificate: certificate.clone(),
        until,
    };
    let ends = |certificate: &Vec<u8>| covenant_identity::authority_ends(certificate).unwrap_or_default();
    let issuing = control.desk.any_authority().map(|authority| IssuingView {
        scope: authority.scope(),
        ends: authority.not_after(),
        under_first_root: root_print(authority.root()) == first,
    });
    let members = control.cluster.members().into_iter().map(|member| CaMember {
        same_roots: has_same_roots(&member.trust, &trusted),
        under_first_root: member.trust.under == first,
        issues: member.trust.issues,
        certificate_ends: member.certificate_ends,
        state: member.state,
        name: member.name,
    });
    Ok(Json(CaView {
        node: control.config.node.name.clone(),
        cluster: trusted.cluster().to_owned(),
        version: trusted.version(),
        phase: trusted.phase(),
        roots: trusted.roots().iter().map(|der| root(der, ends(der))).collect(),
        retired: trusted.retired().iter().map(|retired| root(&retired.certificate, retired.until)).collect(),
        statements: trusted.to_bytes(),
        issuing,
        members: members.collect(),
    }))
}

/// Makes the key of an issuing authority here, and says what a root has to sign.
pub(crate) async fn request(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    // Read, though it says nothing: a body that is left unread resets the connection.
    _nothing: Bytes,
) -> Answer<AuthorityRequested> {
    let node = control.config.node.name.clone();
    act(&control, &caller, Verb::Ca, format!("request an issuing authority for {node}"), async {
        if control.config.node.role != Role::Hub {
            let message = format!("{node} is no hub; only hubs sign for others; nothing was done");
            return Err(ApiError::new(ErrorKind::Refused, message));
        }
        let desk = Arc::clone(&control.desk);
        let made = control.env.blocking(move || desk.request_authority()).await.map_err(ApiError::failure)?;
        let csr = made.map_err(no)?;
        let answer = AuthorityRequested { node: node.clone(), region: control.config.node.region, csr };
        Ok(Done { answer, before: String::new(), after: "waits for a root's signature".to_owned() })
    })
    .await
}

/// Puts an issuing authority in place that a root signed, and certifies this hub by it.
pub(crate) async fn install(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<AuthorityInstalled> {
    let InstallAuthority { certificate, root } = body(&bytes)?;
    let node = control.config.node.name.clone();
    act(&control, &caller, Verb::Ca, format!("issuing authority of {node}"), async {
        let told = |authority: &covenant_identity::IssuingAuthority| {
            format!(
                "for {} until {} under {:016x}",
                authority.scope(),
                authority.not_after().0,
                root_print(authority.root())
            )
        };
        let before = control.desk.any_authority().map(|authority| told(&authority)).unwrap_or_default();
        let desk = Arc::clone(&control.desk);
        let done = control.env.blocking(move || desk.install(certificate, root)).await.map_err(ApiError::failure)?;
        let authority = done.map_err(no)?;
        if let Err(error) = control.renewer.renew().await {
            let message =
                format!("the issuing authority is in force, but the hub could not certify itself anew: {error}");
            return Err(ApiError::failure(message));
        }
        let answer = AuthorityInstalled {
            node: node.clone(),
            scope: authority.scope(),
            ends: authority.not_after(),
            certificate_ends: control.credentials.identity().not_after,
        };
        Ok(Done { answer, before, after: told(&authority) })
    })
    .await
}

/// The next step of a rotation: refused while a member lacks the one before.
pub(crate) async fn roots(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<RootsAdopted> {
    let AdoptRoots { statements, force, dry_run } = body(&bytes)?;
    let before = control.credentials.trusted();
    let mut after = TrustedRoots::clone(&before);
    let adopted = after.adopt(&statements);
    let target = format!("rotation to {} (version {})", after.phase(), after.version());
    let planned = || -> Result<RootsAdopted, ApiError> {
        match adopted.map_err(|error| ApiError::usage(format!("{error}; nothing was done")))? {
            Adoption::New => {}
            Adoption::Known => {
                return Err(ApiError::new(ErrorKind::Conflict, "this step is done already; nothing was done"));
            }
            Adoption::Refused(why) => {
                return Err(ApiError::new(ErrorKind::Refused, format!("{why}; nothing was done")));
            }
        }
        if after.version() != before.version() + 1 {
            return Err(ApiError::new(
                ErrorKind::Conflict,
                "the cluster has gone on since this was signed; nothing was done",
            ));
        }
        Ok(RootsAdopted {
            node: control.config.node.name.clone(),
            phase: after.phase(),
            version: after.version(),
            consequences: consequences(&before, &after),
            lacking: lacking(&before, &after, &control.cluster.members()),
            adopted: false,
        })
    };
    if dry_run {
        control.allow(&caller, Verb::Ca).await?;
        return planned().map(Json);
    }
    act(&control, &caller, Verb::Ca, target, async {
        let plan = planned()?;
        let in_the_way = standing_in_the_way(&plan.lacking, force);
        if !in_the_way.is_empty() {
            let mut message = "the step before does not hold everywhere, nothing was done:".to_owned();
            for lack in in_the_way {
                // Writing to a text does not fail.
                let _written = write!(message, " {} ({}): {};", lack.name, lack.state, lack.why);
            }
            message.push_str(" --force passes over those that are not reachable");
            return Err(ApiError::new(ErrorKind::Conflict, message));
        }
        let taken = control.credentials.adopt_roots(&statements).map_err(ApiError::failure)?;
        if taken != Adoption::New {
            return Err(ApiError::new(ErrorKind::Conflict, "another step came between; nothing was done"));
        }
        let (files, bytes) = (control.files.clone(), control.credentials.trusted().to_bytes());
        let written = control.env.blocking(move || files.write_roots(&bytes)).await.map_err(ApiError::failure)?;
        written.map_err(|error| ApiError::failure(format!("{error}; the step holds until this node restarts")))?;
        let told = |trusted: &TrustedRoots| format!("{} version {}", trusted.phase(), trusted.version());
        let (was, is) = (told(&before), told(&after));
        Ok(Done { answer: RootsAdopted { adopted: true, ..plan }, before: was, after: is })
    })
    .await
}

/// Renews this node's certificate now.
pub(crate) async fn rotate_certificate(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    // Read, though it says nothing: a body that is left unread resets the connection.
    _nothing: Bytes,
) -> Answer<CertificateRotated> {
    let node = control.config.node.name.clone();
    act(&control, &caller, Verb::CertRotate, node.to_string(), async {
        let ended = |at: WallTime| format!("ends {}", at.0);
        let before = ended(control.credentials.identity().not_after);
        let by = control.renewer.renew().await.map_err(|error| {
            ApiError::new(ErrorKind::Unreachable, format!("{error}; the certificate stays as it was"))
        })?;
        let ends = control.credentials.identity().not_after;
        Ok(Done { answer: CertificateRotated { node: node.clone(), by: by.clone(), ends }, before, after: ended(ends) })
    })
    .await
}

/// A no of the desk, where nothing was changed.
pub(crate) fn no(error: DeskError) -> ApiError {
    let kind = match &error {
        DeskError::NotAnIssuer | DeskError::Authority(_) | DeskError::Issue(_) => ErrorKind::Refused,
        DeskError::DoesNotFit(_) => ErrorKind::Conflict,
        DeskError::Files(_) => ErrorKind::Failure,
    };
    ApiError::new(kind, format!("{error}; nothing was done"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text does not fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}
