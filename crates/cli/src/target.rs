//! Finds the node a verb is for: a socket, an address, or a node of the folder that `up` made.

use std::path::PathBuf;

use covenant_node::api::{ApiError, ErrorKind, Status};
use covenant_types::NodeName;

use crate::args::Global;
use crate::client::Client;
use crate::operator_file::OperatorFile;
use crate::up::layout::{Layout, node_dir, up_socket};

impl Global {
    /// A client for the node that these options name.
    pub(crate) async fn client(&self) -> Result<Client, ApiError> {
        if let Some(socket) = &self.socket {
            return Ok(Client::socket(socket));
        }
        if let (Some(address), Some(file), Some(node)) = (self.address, &self.operator, &self.node) {
            return Ok(Client::Tls(address, Box::new(OperatorFile::load(file, node)?)));
        }
        match &self.node {
            Some(node) => self.client_of(node),
            None => self.first_that_answers().await,
        }
    }

    /// A client for the node `name` of the folder.
    pub(crate) fn client_of(&self, name: &NodeName) -> Result<Client, ApiError> {
        let layout = self.layout()?;
        if !layout.node.iter().any(|node| node.name == *name) {
            let known: Vec<&str> = layout.node.iter().map(|node| node.name.as_str()).collect();
            let message = format!("no node {name} in {}; there are {}", self.folder.display(), known.join(", "));
            return Err(ApiError::new(ErrorKind::NotFound, message));
        }
        Ok(Client::socket(&self.socket_of(name)))
    }

    /// A client for `covenant up` itself, which starts and kills processes.
    pub(crate) fn up_client(&self) -> Client {
        Client::socket(&up_socket(&self.folder))
    }

    async fn first_that_answers(&self) -> Result<Client, ApiError> {
        let layout = self.layout()?;
        for node in &layout.node {
            let client = Client::socket(&self.socket_of(&node.name));
            if client.get::<Status>("/v1/status").await.is_ok() {
                return Ok(client);
            }
        }
        let message = format!("no node of {} answers; start them with `covenant up`", self.folder.display());
        Err(ApiError::new(ErrorKind::Unreachable, message))
    }

    fn socket_of(&self, name: &NodeName) -> PathBuf {
        node_dir(&self.folder, name).join("control.sock")
    }

    /// The cluster of the folder.
    pub(crate) fn layout(&self) -> Result<Layout, ApiError> {
        let missing = || {
            let folder = self.folder.display();
            let message = format!(
                "{folder} has no cluster: run `covenant up` first, or say whom to ask with --folder, --socket or --address"
            );
            ApiError::new(ErrorKind::NotFound, message)
        };
        Layout::load(&self.folder).map_err(|error| ApiError::usage(format!("{error:#}")))?.ok_or_else(missing)
    }
}
