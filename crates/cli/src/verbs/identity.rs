//! `init`, `token`, `join`, `operator`: how nodes and people become part of a cluster.

use std::io::{IsTerminal, Read};
use std::path::Path;

use covenant_env::{Env, Metrics};
use covenant_node::api::{ApiError, CreateOperator, CreateToken, ErrorKind, OperatorCreated, TokenCreated};
use covenant_node::{InitSpec, LinkProfile, MakeError, NodeKey, NodePlace, Zeroizing};

use crate::args::{Addresses, Global, Init, Join, OperatorVerb, TokenVerb};
use crate::operator_file::OperatorFile;
use crate::output::Output;

/// The longest token that is read, in bytes.
const TOKEN_BYTES_MAX: u64 = 4096;

/// Makes a cluster's root and first node.
pub(crate) fn init(args: &Init, output: &Output) -> Result<(), ApiError> {
    let spec = InitSpec {
        cluster: args.cluster.clone(),
        name: args.name.clone(),
        region: args.region,
        scope: args.issue_for,
        place: place(&args.dir, &args.addresses),
    };
    let made = covenant_node::init(&spec, &env()).map_err(no)?;
    let answer = serde_json::json!({ "id": made.id.to_string(), "config": made.config, "root_key": made.root_key });
    output.view(&answer, |_| {
        format!(
            "the node {} ({}) is made; start it with: covenant node run --config {}",
            args.name,
            made.id,
            made.config.display()
        )
    });
    output.talk(&format!(
        "take {} offline now: whoever has it can make nodes of this cluster, and it is needed again only in 30 days",
        made.root_key.display()
    ));
    Ok(())
}

/// Makes a token for one node.
pub(crate) async fn token(global: &Global, verb: TokenVerb, output: &Output) -> Result<(), ApiError> {
    let TokenVerb::Create { role, region, name, ttl } = verb;
    let request = CreateToken { role, region, name, ttl_s: ttl.as_secs() };
    let made: TokenCreated = global.client().await?.post("/v1/token", &request).await?;
    output.view(&made, |_| made.token.clone());
    output.talk("give it to `covenant join` on the new node's stdin; it admits one node, once");
    Ok(())
}

/// Makes this machine a node.
pub(crate) async fn join(args: &Join, output: &Output) -> Result<(), ApiError> {
    let token = match &args.token_file {
        Some(file) => covenant_node::read_secret(file, TOKEN_BYTES_MAX).map_err(ApiError::usage)?,
        None => {
            if std::io::stdin().is_terminal() {
                output.talk("paste the token, then press Enter and Ctrl-D:");
            }
            let mut text = Zeroizing::new(String::new());
            std::io::stdin().take(TOKEN_BYTES_MAX).read_to_string(&mut text).map_err(ApiError::usage)?;
            text
        }
    };
    let place = place(&args.dir, &args.addresses);
    let made = covenant_node::join(&place, token.trim(), &env()).await.map_err(no)?;
    let answer = serde_json::json!({ "id": made.id.to_string(), "config": made.config });
    output.view(&answer, |_| {
        format!("joined as {}; start the node with: covenant node run --config {}", made.id, made.config.display())
    });
    Ok(())
}

/// Makes a person's key here and has the node certify it.
pub(crate) async fn operator(global: &Global, verb: OperatorVerb, output: &Output) -> Result<(), ApiError> {
    let OperatorVerb::Create { name, role, out } = verb;
    if out.exists() {
        return Err(ApiError::usage(format!("{} exists; choose another file", out.display())));
    }
    let key = NodeKey::generate();
    let request = CreateOperator { name: name.clone(), role: role.clone(), csr: covenant_node::make_csr(&key) };
    let created: OperatorCreated = global.client().await?.post("/v1/operator", &request).await?;
    OperatorFile::write(&out, &key, &created)?;
    let answer = serde_json::json!({ "file": out, "expires": created.expires });
    output.view(&answer, |_| {
        format!("{name} may act as {role}: covenant members --address HOST:PORT --node NAME --as {}", out.display())
    });
    Ok(())
}

fn no(error: MakeError) -> ApiError {
    let kind = match error {
        MakeError::Exists(_) => ErrorKind::Conflict,
        MakeError::Bad(_) => ErrorKind::Usage,
        MakeError::Files(_) => ErrorKind::Failure,
        MakeError::Join(_) => ErrorKind::Refused,
    };
    ApiError::new(kind, error.to_string())
}

fn place(dir: &Path, addresses: &Addresses) -> NodePlace {
    NodePlace {
        dir: dir.to_owned(),
        listen: addresses.listen,
        control: addresses.control,
        metrics: addresses.metrics,
        ledger: addresses.ledger,
        subscribe: Vec::new(),
        profile: LinkProfile::Lan,
    }
}

fn env() -> Env {
    let handle = tokio::runtime::Handle::current();
    Env::real(handle.clone(), handle, covenant_node::entropy(), Metrics::none())
}
