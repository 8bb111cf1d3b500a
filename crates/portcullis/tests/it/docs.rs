//! The documentation pages as a reader's browser shows them, without a network.

use crate::{app::App, beds};

/// The page after its scripts have run.
fn shown(app: &App, path: &str) -> Option<String> {
    let mut chromium = beds::program("chromium")?;
    let home = tempfile::tempdir().unwrap();
    let said = chromium
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        // whatever is not this server does not resolve
        .args([
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
            "--virtual-time-budget=20000",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", home.path().display()))
        .arg(format!("{}{path}", app.url))
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    Some(String::from_utf8_lossy(&said.stdout).into_owned())
}

#[test]
fn the_pages_show_the_doors_offline() {
    let app = App::start();
    for (page, mark) in [("/docs", "opblock"), ("/redoc", "data-section-id")] {
        let Some(dom) = shown(&app, page) else { return };
        for wanted in [mark, "/mcp/call-tool", "/health"] {
            assert!(dom.contains(wanted), "{page} does not show {wanted}: {} bytes", dom.len());
        }
        for unwanted in ["errors-wrapper", "cdn.redoc.ly"] {
            assert!(!dom.contains(unwanted), "{page} shows {unwanted}");
        }
    }
}

#[test]
fn the_pages_name_no_other_host() {
    let app = App::start();
    for page in ["/docs", "/redoc"] {
        let answer = app.get(page, None);
        let text = answer.text();
        assert_eq!(answer.status, 200);
        for foreign in ["src=\"http", "href=\"http", "src=\"//", "@import"] {
            assert!(!text.contains(foreign), "{page} loads from elsewhere: {text}");
        }
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.contains("default-src 'none'") || policy.contains("default-src 'self'"), "{policy}");
    }
}
