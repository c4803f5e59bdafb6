//! [`Browser`]: a real headless Chromium, driven by the DevTools protocol over a pipe: no driver, no library, no port.

use std::{path::PathBuf, process::Stdio, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::tools;

/// Enough for a page on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one tab.
pub struct Browser {
    _process: Child,
    _profile: TempDir,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: String,
    asked: u64,
    /// What it has told unasked, in the order it came.
    pub events: Vec<Value>,
}

impl Browser {
    /// Starts one; `None`, said aloud, where there is no Chromium.
    pub async fn start() -> Option<Browser> {
        let program = ["chromium", "chromium-browser", "google-chrome"]
            .into_iter()
            .find(|name| {
                std::process::Command::new(name)
                    .arg("--version")
                    .output()
                    .is_ok()
            });
        let Some(program) = program else {
            tools::skip("`chromium` is not installed");
            return None;
        };
        let profile = tempfile::tempdir().expect("a folder");
        // It reads commands from file 3 and answers on file 4, which a shell makes of what a child process has.
        let mut process = Command::new("sh")
            .args([
                "-c",
                "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null",
                "sh",
                program,
            ])
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
            ])
            .args([
                "--no-first-run",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
            ])
            .args([
                "--disable-component-update",
                "--disable-sync",
                "--no-proxy-server",
            ])
            .arg("--remote-debugging-pipe")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromium runs");
        let (to, from) = (process.stdin.take(), process.stdout.take());
        let mut browser = Browser {
            _process: process,
            _profile: profile,
            to: to.expect("a pipe"),
            from: BufReader::new(from.expect("a pipe")),
            session: String::new(),
            asked: 0,
            events: Vec::new(),
        };
        let made = browser
            .ask("Target.createTarget", json!({ "url": "about:blank" }))
            .await;
        let attached = json!({ "targetId": made["targetId"], "flatten": true });
        let attached = browser.ask("Target.attachToTarget", attached).await;
        browser.session = attached["sessionId"]
            .as_str()
            .expect("a session")
            .to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), json!({})).await;
        }
        Some(browser)
    }

    /// A window of this size, in points, light or dark.
    pub async fn looks(&mut self, width: u32, height: u32, scheme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.ask("Emulation.setDeviceMetricsOverride", size).await;
        let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.ask("Emulation.setEmulatedMedia", scheme).await;
    }

    /// Sends these headers with every request.
    pub async fn sends(&mut self, headers: Value) {
        let headers = json!({ "headers": headers });
        self.ask("Network.setExtraHTTPHeaders", headers).await;
    }

    /// Opens a page and waits until it is there.
    pub async fn open(&mut self, url: &str) {
        self.events.clear();
        let opened = self.ask("Page.navigate", json!({ "url": url })).await;
        assert_eq!(opened["errorText"], Value::Null, "{url}");
        let is_loaded = |event: &Value| event["method"] == "Page.loadEventFired";
        while !self.events.iter().any(is_loaded) {
            let event = self.receive().await;
            self.events.push(event);
        }
    }

    /// What an expression of JavaScript comes to in the page; a promise is waited for.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        let wanted =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.ask("Runtime.evaluate", wanted).await;
        assert_eq!(answer["exceptionDetails"], Value::Null, "{expression:.200}");
        answer["result"]["value"].clone()
    }

    /// Presses a key once, as somebody at the keyboard does.
    pub async fn press(&mut self, key: &str, code: u32) {
        for kind in ["keyDown", "keyUp"] {
            let event =
                json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
            self.ask("Input.dispatchKeyEvent", event).await;
        }
    }

    /// The whole page as a PNG.
    pub async fn screenshot(&mut self) -> Vec<u8> {
        let wanted = json!({ "format": "png", "captureBeyondViewport": true });
        let taken = self.ask("Page.captureScreenshot", wanted).await;
        let text = taken["data"].as_str().expect("a picture");
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).expect("base64")
    }

    /// What the page complained about: errors in the console, exceptions, blocked loads, failed requests.
    pub fn complaints(&self) -> Vec<String> {
        let is_complaint = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown" | "Network.loadingFailed") => true,
            Some("Runtime.consoleAPICalled") => event["params"]["type"] == "error",
            Some("Log.entryAdded") => {
                let level = &event["params"]["entry"]["level"];
                level == "error" || level == "warning"
            }
            _ => false,
        };
        let complaints = self.events.iter().filter(is_complaint);
        complaints
            .map(|event| event["params"].to_string())
            .collect()
    }

    /// The URLs that were asked for since the page was opened.
    pub fn requests(&self) -> Vec<String> {
        let sent = self
            .events
            .iter()
            .filter(|event| event["method"] == "Network.requestWillBeSent");
        let url = |event: &Value| {
            event["params"]["request"]["url"]
                .as_str()
                .map(str::to_owned)
        };
        sent.filter_map(url).collect()
    }

    async fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.asked += 1;
        let id = self.asked;
        let mut command = json!({ "id": id, "method": method, "params": parameters });
        if !self.session.is_empty() {
            command["sessionId"] = json!(self.session);
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).await.expect("chromium listens");
        loop {
            let message = self.receive().await;
            if message["id"] == id {
                assert_eq!(message["error"], Value::Null, "{method}");
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    async fn receive(&mut self) -> Value {
        let mut bytes = Vec::new();
        let read = timeout(PATIENCE, self.from.read_until(0, &mut bytes)).await;
        let read = read
            .expect("chromium says something in time")
            .expect("a pipe");
        assert!(read > 0, "chromium ended");
        bytes.pop();
        serde_json::from_slice(&bytes).expect("JSON")
    }
}

/// The script of axe-core, which `.ci/run` puts there; `None`, said aloud, where it isn't.
pub fn axe() -> Option<String> {
    let place = std::env::var_os("CRATE_MIRROR_TEST_AXE").map(PathBuf::from);
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let place = place.unwrap_or_else(|| root.join("target/axe/package/axe.min.js"));
    match std::fs::read_to_string(&place) {
        Ok(script) => Some(script),
        Err(_) => {
            tools::skip(&format!("axe-core is not at {}", place.display()));
            None
        }
    }
}
