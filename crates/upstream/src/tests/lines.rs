//! Servers that speak lines of JSON, over pipes, sockets and TLS with certificates on both sides.

use std::{path::Path, sync::Arc, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::{TcpListener, UnixListener},
};
use tool::{Code, ProbeState, Shape};

use super::bed::{Ear, Room, said};

/// What such a server offers.
fn schema() -> Value {
    let text =
        json!({ "type": "object", "required": ["text"], "properties": { "text": { "type": "string" } } });
    json!({ "tools": {
        "text.echo": { "params": text, "returns": text },
        "text.late": { "params": text }, "text.fails": {}, "text.age": {},
    } })
}

/// Serves one connection, one request after the other, as those servers do.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let (input, mut output) = tokio::io::split(stream);
    let mut lines = BufReader::new(input).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let asked: Value = serde_json::from_str(&line).unwrap();
        let members: Vec<_> = asked.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["id", "method", "params", "ts_ms"]);
        let result = match asked["method"].as_str().unwrap() {
            "schema" => Ok(schema()),
            "text.echo" => Ok(asked["params"].clone()),
            "text.age" => Ok(json!({ "ts_ms": asked["ts_ms"] })),
            "text.late" => {
                tokio::time::sleep(Duration::from_millis(700)).await;
                Ok(json!({ "text": "late" }))
            }
            method => Err(format!("unknown method {method}")),
        };
        let reply = match result {
            Ok(result) => json!({ "id": asked["id"], "ok": true, "result": result }),
            Err(why) => json!({ "id": asked["id"], "ok": false, "error": "ValueError", "message": why }),
        };
        if output.write_all(format!("{reply}\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn check(room: &Room) {
    assert_eq!(room.names(), ["up_text_echo", "up_text_late", "up_text_fails", "up_text_age"]);
    let ear = Arc::new(Ear::default());
    let outcome = room.call("up_text_echo", r#"{"text":"a\nb", "n" : 12345678901234567890123}"#, &ear).await;
    let outcome = outcome.unwrap();
    assert_eq!(outcome.shape, Shape::Value);
    assert_eq!(outcome.to_value()["text"], "a\nb");
    let failed = room.call("up_text_fails", "{}", &ear).await.unwrap();
    assert!(failed.failed);
    assert_eq!(said(&failed), "ValueError: unknown method text.fails");
    assert_eq!(room.probe().await.state, ProbeState::Healthy);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_at_a_socket_is_called_and_a_late_answer_is_nobodys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tools.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream));
        }
    });
    let section =
        json!({ "up": { "socket": path, "protocol": "jsonl", "timeout_ms": 1_000, "call_ms_max": 500 } });
    let room = Room::open(section).await;
    check(&room).await;
    let late = room.plain("up_text_late", r#"{"text":"x"}"#).await.unwrap_err();
    assert_eq!(late.code, Code::OutcomeUnknown);
    // The reply to the one before comes first, and is dropped.
    for text in ["one", "two"] {
        let answer = room.plain("up_text_echo", &json!({ "text": text }).to_string()).await;
        assert!(answer.unwrap().contains(text));
    }
    let age = room.plain("up_text_age", "{}").await.unwrap();
    // Of the clock that rooms of tests have.
    assert!(age.contains(&tool::Clock::now(&*testkit::ManualClock::new()).unix_ms().to_string()), "{age}");
    room.provider.close().await;
    server.abort();
}

/// An authority, and certificates of a server and of a client by it, as files in a folder.
fn certificates(folder: &Path) -> Arc<ServerConfig> {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let made = |name: &str, usage: ExtendedKeyUsagePurpose| {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    };
    made("server", ExtendedKeyUsagePurpose::ServerAuth);
    made("client", ExtendedKeyUsagePurpose::ClientAuth);
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let chain = vec![CertificateDer::from_pem_file(folder.join("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    Arc::new(config.with_client_cert_verifier(clients).with_single_cert(chain, key).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_over_tls_knows_us_by_our_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(certificates(folder.path()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream).await;
                }
            });
        }
    });
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let key = std::fs::read_to_string(file("client.key")).unwrap();
    let section = |tls: Value| {
        json!({ "up": {
            "url": format!("tls://localhost:{port}"), "allow_private": [format!("localhost:{port}")],
            "protocol": "jsonl", "tls": tls,
        } })
    };
    let ours = json!({ "ca": file("ca.pem"), "certificate": file("client.pem"), "key": key });
    let room = Room::open(section(ours)).await;
    check(&room).await;
    room.provider.close().await;
    // Without a certificate it does not speak to us; without its authority we do not speak to it.
    for (tls, why) in [(json!({ "ca": file("ca.pem") }), "broke off"), (json!({}), "cannot be connected to")]
    {
        let room = Room::open(section(tls)).await;
        let probe = room.probe().await;
        let error = probe.details["error"].as_str().unwrap().to_owned();
        assert!(error.contains(why) || error.contains("is down"), "{error}");
        assert!(room.names().is_empty());
        room.provider.close().await;
    }
    let wrong = Room::try_open(section(json!({ "ca": file("client.key") }))).await.map(|_| ()).unwrap_err();
    assert!(wrong.contains("there is no certificate in it"), "{wrong}");
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_speaks_lines_is_kept_as_any_other() {
    let script = r#"
        while IFS= read -r line; do
          id=${line#*\"id\":}; id=${id%%,*}
          case $line in
            *'"method":"schema"'*) printf '{"id":%s,"ok":true,"result":{"tools":{"who":{"description":"Says who it is."}}}}\n' "$id" ;;
            *) printf '{"id":%s,"ok":true,"result":{"pid":%s}}\n' "$id" "$$" ;;
          esac
        done"#;
    let section = json!({ "up": { "command": ["sh", "-c", script], "protocol": "jsonl", "prefix": "" } });
    let room = Room::open(section).await;
    assert_eq!(room.names(), ["who"]);
    assert!(room.plain("who", "{}").await.unwrap().contains("pid"));
    room.provider.close().await;
}

/// The same certificates in front of a server of the protocol.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_over_https_knows_us_by_our_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(certificates(folder.path()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = |body: axum::body::Bytes| async move {
        let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
        let result = match asked["method"].as_str().unwrap_or_default() {
            "server/discover" => json!({
                "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} },
            }),
            "tools/list" => {
                json!({ "resultType": "complete", "tools": [{ "name": "known", "inputSchema": { "type": "object" } }] })
            }
            _ => json!({}),
        };
        axum::Json(json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result }))
    };
    let doors = axum::Router::new().route("/mcp", axum::routing::post(answer));
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, doors) = (acceptor.clone(), doors.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = hyper_util::service::TowerToHyperService::new(doors);
                let io = hyper_util::rt::TokioIo::new(stream);
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
            });
        }
    });
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let key = std::fs::read_to_string(file("client.key")).unwrap();
    let section = |tls: Value| {
        let place = format!("localhost:{port}");
        json!({ "up": { "url": format!("https://{place}/mcp"), "allow_private": [place], "tls": tls } })
    };
    let ours = json!({ "ca": file("ca.pem"), "certificate": file("client.pem"), "key": key });
    let room = Room::open(section(ours)).await;
    assert_eq!(room.names(), ["up_known"]);
    room.provider.close().await;
    let room = Room::open(section(json!({ "ca": file("ca.pem") }))).await;
    assert!(room.names().is_empty());
    room.provider.close().await;
    server.abort();
}
