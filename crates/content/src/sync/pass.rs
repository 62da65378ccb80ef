//! One pass over all hubs.

use std::sync::Arc;
use std::time::Duration;

use covenant_cluster::{Cluster, MemberState};
use covenant_env::Env;
use covenant_types::{ActorPath, NodeName, Role};

use crate::bulk::{REQUEST_CHUNKS_MAX, fetch};
use crate::plan::{Summary, Wanted, choose};
use crate::store_actor::{StoreMessage, StoreRequest, StoreResponse};
use crate::{ChunkId, ContentStore, DatasetId, SignedManifest};

/// How long a hub may take to answer a question.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Offers of one hub that are looked at.
const OFFERS_MAX: usize = 1000;
/// Where the store hangs in a hub's tree.
const STORE_PATH: &str = "/content/store";

/// What a pass needs.
#[derive(Clone)]
pub(crate) struct Pass {
    pub(crate) store: Arc<ContentStore>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) env: Env,
}

impl Pass {
    /// Fetches what is wanted and missing, as far as the hubs that answer have it.
    pub(crate) async fn make(&self, wanted: &Wanted) {
        if wanted.classes.is_empty() && wanted.names.is_empty() {
            return;
        }
        let mut offers = Vec::new();
        for hub in self.hubs() {
            if let Some(StoreResponse::Catalog(catalog)) = self.ask(&hub, StoreRequest::Catalog).await {
                offers.extend(catalog.into_iter().take(OFFERS_MAX).map(|summary| (hub.clone(), summary)));
            }
        }
        let summaries = offers.iter().map(|(_, summary)| summary.clone()).collect();
        let store = self.store.clone();
        let Ok(held) = self.env.blocking(move || store.held()).await else { return };
        for chosen in choose(summaries, &held, wanted) {
            let providers: Vec<&NodeName> =
                offers.iter().filter(|(_, summary)| summary.id == chosen.id).map(|(hub, _)| hub).collect();
            self.fetch_dataset(&chosen, &providers).await;
        }
    }

    fn hubs(&self) -> Vec<NodeName> {
        let me = self.cluster.me().name;
        let members = self.cluster.members().into_iter();
        let hubs = members
            .filter(|member| member.role == Role::Hub && member.state == MemberState::Reachable && member.name != me);
        hubs.map(|member| member.name).collect()
    }

    async fn ask(&self, hub: &NodeName, request: StoreRequest) -> Option<StoreResponse> {
        let path: ActorPath = STORE_PATH.parse().ok()?;
        let store = self.cluster.remote::<StoreMessage>(hub, &path);
        match store.call(|reply| StoreMessage { request, reply }, ANSWER_WITHIN).await {
            Ok(response) => Some(response),
            Err(error) => {
                tracing::debug!(%hub, %error, "a hub did not answer about its content");
                None
            }
        }
    }

    async fn fetch_dataset(&self, chosen: &Summary, providers: &[&NodeName]) {
        let mut missing = None;
        for hub in providers {
            let answer = self.ask(hub, StoreRequest::Manifest(chosen.id)).await;
            let Some(StoreResponse::Manifest(Some(signed))) = answer else { continue };
            match self.adopt(chosen.id, *signed).await {
                Ok(chunks) => {
                    missing = Some(chunks);
                    break;
                }
                Err(why) => tracing::warn!(%hub, dataset = %chosen.name, why, "a manifest was refused"),
            }
        }
        let Some(mut missing) = missing else { return };
        // Every round asks all providers once; a round that brings nothing ends the pass for this dataset.
        while !missing.is_empty() {
            let before = missing.len();
            for hub in providers {
                missing = self.fetch_from(hub, chosen, missing).await;
                if missing.is_empty() {
                    break;
                }
            }
            if missing.len() == before {
                tracing::warn!(dataset = %chosen.name, missing = before, "no hub gives the missing chunks; trying again later");
                return;
            }
        }
        let (store, id, now) = (self.store.clone(), chosen.id, self.env.wall());
        if matches!(self.env.blocking(move || store.complete(id, now)).await, Ok(true)) {
            tracing::info!(dataset = %chosen.name, version = chosen.version, "a dataset is complete");
        }
    }

    async fn adopt(&self, id: DatasetId, signed: SignedManifest) -> Result<Vec<ChunkId>, String> {
        if signed.id() != id {
            return Err("it is not the one that was asked for".to_owned());
        }
        let (store, now) = (self.store.clone(), self.env.wall());
        let added =
            self.env.blocking(move || store.add_manifest(signed, now)).await.map_err(|error| error.to_string())?;
        added.map(|chunks| chunks.into_iter().map(|chunk| chunk.id).collect()).map_err(|error| error.to_string())
    }

    /// Fetches from one hub until it fails, and returns what is missing then.
    async fn fetch_from(&self, hub: &NodeName, chosen: &Summary, missing: Vec<ChunkId>) -> Vec<ChunkId> {
        let Some(peer) = self.cluster.peer(hub) else { return missing };
        for batch in missing.chunks(REQUEST_CHUNKS_MAX) {
            match fetch(&peer, &self.store, &self.env, batch).await {
                Ok(fetched) if fetched.wrong > 0 => {
                    self.env
                        .metrics
                        .counter("covenant_content_wrong_chunks_total", &[])
                        .increment(fetched.wrong as u64);
                    tracing::warn!(%hub, dataset = %chosen.name, wrong = fetched.wrong, "a hub gave chunks with wrong bytes; asking another");
                    break;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%hub, %error, "a fetch was cut short");
                    break;
                }
            }
        }
        let (store, id) = (self.store.clone(), chosen.id);
        let left = self.env.blocking(move || store.missing(id)).await;
        left.map_or(missing, |chunks| chunks.into_iter().map(|chunk| chunk.id).collect())
    }
}
