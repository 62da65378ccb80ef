//! Serves the public log of the ledger as static files, to anybody, read-only.
//!
//! Only paths that name a file of a log are looked at, and what is opened is made from what was understood, never from what was
//! sent. A verifier that holds a checkpoint of a while ago asks for the partial tiles of that size: they are cut from those that
//! took their place.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use covenant_env::Env;
use covenant_ledger::LedgerConfig;
use covenant_tlog::{CHECKPOINT_FILE, Directory, LogFiles, NOTE_BYTES_MAX, TILE_WIDTH, TilePath, cut_tile};
use covenant_watch::{IncidentKind, Told};

/// Connections that are served at a time. An answer may have the 16 MiB of the longest bundle, so there are fewer than elsewhere.
pub(crate) const CONNECTIONS_MAX: usize = 16;
/// How often a tile is looked for again that was replaced meanwhile.
const LOOKS_MAX: usize = 3;
const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
/// A checkpoint is another one soon; a tile never changes.
const FRESH: &str = "no-cache";
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// The files of the log in `folder`, below `/ledger/`.
pub(crate) fn router(env: Env, folder: PathBuf) -> Router {
    Router::new().route("/ledger/{*path}", get(file)).with_state(Arc::new(Served { env, folder }))
}

/// Looks at what is wrong with public logs each time it is called.
pub(crate) fn watched(ledger: Arc<LedgerConfig>) -> impl Fn() -> Told {
    move || Told {
        kind: IncidentKind::PublicLog,
        wrong: ledger.troubles(),
        over: "it is whole, published and agreed on",
    }
}

struct Served {
    env: Env,
    folder: PathBuf,
}

async fn file(State(served): State<Arc<Served>>, Path(path): Path<String>) -> Response {
    let wanted = match path.parse::<TilePath>() {
        Ok(tile) => Some(tile),
        Err(_) if path == CHECKPOINT_FILE => None,
        Err(_) => return StatusCode::NOT_FOUND.into_response(),
    };
    let folder = served.folder.clone();
    let read = served.env.blocking(move || {
        let files = Directory::new(folder);
        match wanted {
            Some(tile) => read_tile(&files, tile),
            None => files.read(CHECKPOINT_FILE, NOTE_BYTES_MAX),
        }
    });
    let (kind, keep) = if wanted.is_some() { (BYTES, FOR_EVER) } else { (TEXT, FRESH) };
    match read.await.and_then(|read| read) {
        Ok(Some(bytes)) => ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, keep)], bytes).into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => {
            tracing::warn!(%error, path, "a file of the public log cannot be read");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The tile as it was asked for, or cut from a wider one.
fn read_tile(files: &Directory, tile: TilePath) -> io::Result<Option<Vec<u8>>> {
    for _ in 0..LOOKS_MAX {
        if let Some(bytes) = files.read(&tile.to_string(), tile.bytes_max())? {
            return Ok(Some(bytes));
        }
        let Some(wider) = wider_of(files, tile)? else { return Ok(None) };
        if let Some(bytes) = files.read(&wider.to_string(), wider.bytes_max())? {
            return Ok(cut_tile(wider, &bytes, tile.width()).map(<[u8]>::to_vec));
        }
    }
    Ok(None)
}

/// A tile in the place of `tile` that is wider.
fn wider_of(files: &Directory, tile: TilePath) -> io::Result<Option<TilePath>> {
    let at = |width| tile.with_width(width);
    if let Some(full) = at(TILE_WIDTH).filter(|full| *full != tile)
        && files.has(&full.to_string())
    {
        return Ok(Some(full));
    }
    let path = tile.to_string();
    // Partial tiles lie in a folder of their own, named by their width.
    let Some((folder, _)) = path.rsplit_once('/').filter(|_| tile.width() < TILE_WIDTH) else { return Ok(None) };
    let widths = files.names(folder)?.into_iter().filter_map(|name| name.parse::<u16>().ok());
    Ok(widths.filter(|width| (tile.width() + 1..TILE_WIDTH).contains(width)).max().and_then(at))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use covenant_tlog::{TileBuilder, files_of};
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    use super::*;

    /// The files of a log of `size` entries, below which lies what is nobody's business.
    fn log(size: u16) -> (tempfile::TempDir, TileBuilder) {
        let (dir, mut builder) = (tempfile::tempdir().unwrap(), TileBuilder::default());
        std::fs::write(dir.path().join("log.key"), "secret").unwrap();
        let mut files = Vec::new();
        for number in 0..size {
            files.extend(builder.append(&number.to_be_bytes()).unwrap());
        }
        for file in files.into_iter().chain(builder.edge()) {
            let path = dir.path().join("public").join(file.path.to_string());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file.bytes).unwrap();
        }
        std::fs::write(dir.path().join("public/checkpoint"), "a checkpoint\n").unwrap();
        std::fs::write(dir.path().join("public/notes"), "no file of the log").unwrap();
        (dir, builder)
    }

    async fn asked(dir: &tempfile::TempDir, method: &str, path: &str) -> (StatusCode, Vec<u8>) {
        let router = router(Env::for_test(1), dir.path().join("public"));
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = TowerToHyperService::new(router).call(request).await.unwrap();
        let status = response.status();
        (status, axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec())
    }

    #[tokio::test]
    async fn a_log_is_served_as_it_is_and_as_it_was() {
        let (dir, _) = log(700);
        assert_eq!(asked(&dir, "GET", "/ledger/checkpoint").await, (StatusCode::OK, b"a checkpoint\n".to_vec()));
        for size in [700u64, 699, 600, 513, 512, 300, 257, 255, 1] {
            let mut older = TileBuilder::default();
            let mut files = Vec::new();
            for number in 0..u16::try_from(size).unwrap() {
                files.extend(older.append(&number.to_be_bytes()).unwrap());
            }
            files.extend(older.edge());
            assert_eq!(files.len(), files_of(size).count());
            for file in files {
                let (status, bytes) = asked(&dir, "GET", &format!("/ledger/{}", file.path)).await;
                assert_eq!((status, bytes == file.bytes), (StatusCode::OK, true), "{} of {size}", file.path);
            }
        }
    }

    #[tokio::test]
    async fn nothing_else_is_served_to_anybody() {
        let (dir, _) = log(300);
        for path in [
            "/",
            "/ledger",
            "/ledger/",
            "/checkpoint",
            "/ledger/notes",
            "/ledger/tile",
            "/ledger/tile/",
            "/ledger/tile/0",
            "/ledger/tile/0/001.p/45",
            "/ledger/tile/0/002",
            "/ledger/tile/00/000",
            "/ledger/../log.key",
            "/ledger/%2e%2e/log.key",
            "/ledger/..%2flog.key",
            "/ledger/tile/../../log.key",
            "/ledger//checkpoint",
            "/ledger/checkpoint/",
            "/ledger/checkpoint%00",
            "/ledger/tile/entries/..%2f..%2f..%2flog.key",
        ] {
            let (status, bytes) = asked(&dir, "GET", path).await;
            assert_eq!((status, bytes), (StatusCode::NOT_FOUND, Vec::new()), "{path}");
        }
        for method in ["POST", "PUT", "DELETE"] {
            assert_eq!(asked(&dir, method, "/ledger/checkpoint").await.0, StatusCode::METHOD_NOT_ALLOWED);
        }
    }
}
