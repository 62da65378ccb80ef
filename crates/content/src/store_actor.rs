//! `content.store`: the actor in front of the store. Other nodes ask it what there is; its own node publishes through it.

use std::path::PathBuf;
use std::sync::Arc;

use covenant_cluster::Cluster;
use covenant_runtime::{Behaviour, Callers, Context, Exit, NoConfig, Remotable, Reply, Schema, SchemaHash, StartError};
use covenant_types::Role;
use serde::{Deserialize, Serialize};

use crate::bulk::BulkServer;
use crate::plan::Summary;
use crate::publish::publish;
use crate::{Class, ContentConfig, ContentStore, DatasetId, Published, SignedManifest, StoreError};

/// What the store is asked.
#[derive(Clone, Debug, PartialEq, Eq, Schema, Serialize, Deserialize)]
pub enum StoreRequest {
    /// What can be had here?
    Catalog,
    /// A manifest as it was signed.
    Manifest(DatasetId),
    /// Make a dataset of a folder of this machine. Refused from other nodes.
    Publish {
        /// The folder.
        dir: PathBuf,
        /// The dataset's name.
        name: String,
        /// Its class.
        class: Class,
    },
    /// Write a dataset into a new folder of this machine. Refused from other nodes.
    Get {
        /// The dataset's name.
        name: String,
        /// The folder.
        to: PathBuf,
    },
}

/// What the store answers.
#[derive(Clone, Debug, PartialEq, Eq, Schema, Serialize, Deserialize)]
pub enum StoreResponse {
    /// To `Catalog`.
    Catalog(Vec<Summary>),
    /// To `Manifest`; `None` where it is not here.
    Manifest(Option<Box<SignedManifest>>),
    /// To `Publish`.
    Published(Published),
    /// To `Get`.
    Written(DatasetId),
    /// It was not done; the text says why and what to do.
    No(String),
    /// To `Get`: what it names is not here, or not whole. Nothing was written.
    Absent(String),
}

/// A request to the store, and where its answer goes.
#[derive(Debug)]
pub struct StoreMessage {
    /// What is wanted.
    pub request: StoreRequest,
    /// Where the answer goes.
    pub reply: Reply<StoreResponse>,
}

impl Remotable for StoreMessage {
    const NAME: &'static str = "covenant.content.store/1";
    type Request = StoreRequest;
    type Response = StoreResponse;

    fn into_remote(self) -> (StoreRequest, Option<Reply<StoreResponse>>) {
        (self.request, Some(self.reply))
    }

    fn from_remote(request: StoreRequest, reply: Option<Reply<StoreResponse>>) -> Result<Self, String> {
        let reply = reply.ok_or("the store is called, never told")?;
        match &request {
            StoreRequest::Catalog | StoreRequest::Manifest(_) => Ok(Self { request, reply }),
            StoreRequest::Publish { .. } | StoreRequest::Get { .. } => {
                Err("files of this machine are touched for its own operators alone".to_owned())
            }
        }
    }

    fn schema() -> SchemaHash {
        SchemaHash::exchange::<StoreRequest, StoreResponse>(Self::NAME)
    }
}

/// Answers for the store, and serves its chunks. The node says where they lie, not the tree.
#[derive(Debug)]
pub struct Store {
    store: Arc<ContentStore>,
    config: Arc<ContentConfig>,
}

impl Behaviour for Store {
    type Config = NoConfig;
    type Message = StoreMessage;

    async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        let config = ctx.resource::<ContentConfig>()?;
        let (opening, now) = (config.clone(), ctx.env().wall());
        let opened = ctx.env().blocking(move || opening.store(now)).await.map_err(StartError::failed)?;
        let store = opened.map_err(StartError::failed)?;
        let server = BulkServer::new(store.clone(), ctx.env().clone());
        ctx.resource::<Cluster>()?.set_bulk_handler(Arc::new(server));
        // Those that hold content. A voter has none and asks for none.
        ctx.expose_to(Callers::roles(&[Role::Hub, Role::Tower]));
        Ok(Self { store, config })
    }

    fn kind(message: &StoreMessage) -> &'static str {
        match message.request {
            StoreRequest::Catalog => "Catalog",
            StoreRequest::Manifest(_) => "Manifest",
            StoreRequest::Publish { .. } => "Publish",
            StoreRequest::Get { .. } => "Get",
        }
    }

    async fn handle(&mut self, message: StoreMessage, ctx: &Context<Self>) -> Result<(), Exit> {
        let (store, config, env) = (self.store.clone(), self.config.clone(), ctx.env().clone());
        let StoreMessage { request, reply } = message;
        let now = env.wall();
        let serving = async move {
            let answer = env.blocking(move || answer(&store, &config, request, now)).await;
            reply.send(answer.unwrap_or_else(|error| StoreResponse::No(format!("the store failed: {error}"))));
        };
        // Publishing reads many files: beside the actor, so that others are answered meanwhile. Where as many are under way
        // as may be, the reply is dropped and its caller hears that.
        if ctx.spawn(serving).is_err() {
            tracing::warn!("the store has as many requests under way as it may");
        }
        Ok(())
    }
}

fn answer(
    store: &ContentStore,
    config: &ContentConfig,
    request: StoreRequest,
    now: covenant_types::WallTime,
) -> StoreResponse {
    match request {
        StoreRequest::Catalog => StoreResponse::Catalog(store.catalog()),
        StoreRequest::Manifest(id) => StoreResponse::Manifest(store.signed(id).map(Box::new)),
        StoreRequest::Publish { dir, name, class } => {
            match publish(store, &dir, &name, class, &config.key, config.chain(), now) {
                Ok(published) => StoreResponse::Published(published),
                Err(error) => StoreResponse::No(error.to_string()),
            }
        }
        StoreRequest::Get { name, to } => match store.materialise(&name, &to) {
            Ok(id) => StoreResponse::Written(id),
            Err(error @ StoreError::NoDataset(_)) => {
                StoreResponse::Absent(format!("{error}; `covenant content ls` shows what is; nothing was written"))
            }
            Err(error) => StoreResponse::No(format!("{error}; nothing was written")),
        },
    }
}
