//! [`Azurite`]: Azure Blob Storage as Microsoft's own emulator speaks it.

use std::{net::SocketAddr, path::Path, process::Stdio, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use httpdate::HttpDate;
use object_store::{ClientOptions, ObjectStore, azure::MicrosoftAzureBuilder};
use ring::hmac;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::support::{client, tools};

/// Where `.ci/run` puts it, as seen from the project's folder.
const PROGRAM: &str = "target/tools/azurite/node_modules/.bin/azurite-blob";
/// How long it may take until it listens.
const PATIENCE: Duration = Duration::from_secs(60);
/// An account that there is nowhere else, and its key.
const ACCOUNT: &str = "mirror";
const KEY: &[u8] = b"for-nothing-but-this-0123456789";
/// Which version of its interface is spoken when a container is made.
const VERSION: &str = "2023-11-03";

/// A running emulator. Dropping it ends it.
pub(super) struct Azurite {
    addr: SocketAddr,
    _child: Child,
}

impl Azurite {
    /// None where it isn't installed.
    pub(super) async fn start() -> Option<Azurite> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(PROGRAM);
        if !program.exists() {
            tools::skip(&format!("Azurite is not at {}", program.display()));
            return None;
        }
        let mut child = Command::new(program)
            .args(["--inMemoryPersistence", "--extentMemoryLimit", "512"])
            .args(["--blobPort", "0", "--skipApiVersionCheck", "--silent"])
            // It would tell its makers how it is used.
            .arg("--disableTelemetry")
            .env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{}", key()))
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("Azurite starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let says_where = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some((_, addr)) = line.split_once("successfully listens on http://") {
                    return addr.trim().parse().expect("an address");
                }
            }
            panic!("Azurite ended");
        };
        let addr = timeout(PATIENCE, says_where).await;
        let addr = addr.expect("Azurite says where it listens");
        // What it says later is read, so that it never waits for that.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Some(Azurite {
            addr,
            _child: child,
        })
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}/{ACCOUNT}", self.addr)
    }

    /// The environment of a program that is to use it.
    pub(super) fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.to_owned()),
            ("AZURE_STORAGE_ACCOUNT_KEY", key()),
        ]
    }

    pub(super) fn client(&self, container: &str) -> Arc<dyn ObjectStore> {
        super::with_ring();
        let client = MicrosoftAzureBuilder::new()
            .with_endpoint(self.endpoint())
            .with_client_options(ClientOptions::new().with_allow_http(true))
            .with_account(ACCOUNT)
            .with_access_key(key())
            .with_container_name(container)
            .build();
        Arc::new(client.expect("a client of the container"))
    }

    /// Makes a container, signed as `Create Container` and `Authorize with Shared Key` of its documentation say.
    pub(super) async fn make_container(&self, name: &str) {
        let date = HttpDate::from(std::time::SystemTime::now());
        // Eleven standard headers, of which the request has none, follow the method.
        let empty = "\n".repeat(12);
        let signed = format!(
            "PUT{empty}x-ms-date:{date}\nx-ms-version:{VERSION}\n/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, KEY);
        let signature = BASE64_STANDARD.encode(hmac::sign(&key, signed.as_bytes()));
        let headers = [
            ("x-ms-date", &*date.to_string()),
            ("x-ms-version", VERSION),
            ("content-length", "0"),
            ("authorization", &format!("SharedKey {ACCOUNT}:{signature}")),
        ];
        let path = format!("/{ACCOUNT}/{name}?restype=container");
        let made = client::request(self.addr, "PUT", &path, &headers).await;
        assert_eq!(made.status, 201, "no container: {}", made.text());
    }
}

fn key() -> String {
    BASE64_STANDARD.encode(KEY)
}
