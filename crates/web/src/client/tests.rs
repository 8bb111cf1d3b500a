use std::io::Write as _;

use axum::{Router, http::HeaderMap as Headers, response::Redirect, routing::get};
use expect_test::{Expect, expect};
use http::HeaderValue;
use tool::StopSource;

use super::*;
use crate::beds::{Bed, FakeLookup, answer};

fn settings(private: &[String]) -> Settings {
    Settings {
        private: AllowPrivate::new(private),
        private_setting: "test.allow_private".to_owned(),
        connect_timeout: Duration::from_secs(5),
        keepalive_max: 2,
        redirects_max: 5,
        downgrade: false,
        away: Away::Tell,
    }
}

fn client(private: &[String]) -> Client {
    Client::new(settings(private), Arc::new(SystemLookup))
}

fn outgoing(url: &str) -> Result<Outgoing, WebError> {
    let url = place::parse_url(url).map_err(WebError::BadUrl)?;
    let (headers, own_headers) = (HeaderMap::new(), HeaderMap::new());
    Ok(Outgoing { method: Method::GET, url, headers, own_headers, body: None })
}

/// Fetches with every host listed, so that only the look at addresses stands in the way.
async fn get_text(client: &Client, url: &str) -> Result<String, WebError> {
    let (_source, stop) = StopSource::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    within("test", deadline, &stop, async {
        let answer = client.send(&outgoing(url)?, &|_| Ok(())).await?;
        let (body, _) = answer.read(0, 1024).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    })
    .await
}

/// Ways to write our own network. `PORT` is the port of a server that must never see a connection.
const OWN_NETWORK: &[&str] = &[
    // loopback as an address, decimal, octal, hexadecimal, short
    "http://127.0.0.1:PORT/",
    "http://127.0.0.2:PORT/",
    "http://127.255.255.254:PORT/",
    "http://127.1:PORT/",
    "http://127.0.1:PORT/",
    "http://127.000.000.001:PORT/",
    "http://0177.0.0.1:PORT/",
    "http://00177.0.0.1:PORT/",
    "http://0177.0.0.01:PORT/",
    "http://0177.1:PORT/",
    "http://017700000001:PORT/",
    "http://0017700000001:PORT/",
    "http://0x7f.0.0.1:PORT/",
    "http://0X7F.0.0.1:PORT/",
    "http://0x7f.0x0.0x0.0x1:PORT/",
    "http://0x7f.1:PORT/",
    "http://0x7f000001:PORT/",
    "http://0x007f000001:PORT/",
    "http://0x0000000007f000001:PORT/",
    "http://2130706433:PORT/",
    "http://4294967295:PORT/",
    "http://4294967296:PORT/",
    "http://6425673729:PORT/",
    "http://127.0.0.1.:PORT/",
    "http://127.0.0.1..:PORT/",
    "http://2130706433.:PORT/",
    "http://0x7f.1.:PORT/",
    "http://127.65535:PORT/",
    "http://127.16777215:PORT/",
    "http://127.0.257:PORT/",
    // this network, which is loopback on Linux
    "http://0:PORT/",
    "http://0.0.0.0:PORT/",
    "http://0.0:PORT/",
    "http://0x0:PORT/",
    "http://00:PORT/",
    "http://0.:PORT/",
    "http://0.1.2.3:PORT/",
    // IPv6 in many lengths, and IPv4 within it
    "http://[::1]:PORT/",
    "http://[0:0:0:0:0:0:0:1]:PORT/",
    "http://[0000:0000:0000:0000:0000:0000:0000:0001]:PORT/",
    "http://[::0001]:PORT/",
    "http://[0::1]:PORT/",
    "http://[::0:1]:PORT/",
    "http://[::0.0.0.1]:PORT/",
    "http://[::]:PORT/",
    "http://[0:0:0:0:0:0:0:0]:PORT/",
    "http://[::ffff:127.0.0.1]:PORT/",
    "http://[::FFFF:7F00:1]:PORT/",
    "http://[::ffff:7f00:0001]:PORT/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]:PORT/",
    "http://[::ffff:0.0.0.0]:PORT/",
    "http://[::ffff:169.254.169.254]:PORT/",
    "http://[::127.0.0.1]:PORT/",
    "http://[::7f00:1]:PORT/",
    "http://[::ffff:0:127.0.0.1]:PORT/",
    "http://[64:ff9b::127.0.0.1]:PORT/",
    "http://[64:ff9b::7f00:1]:PORT/",
    "http://[64:ff9b:1::7f00:1]:PORT/",
    "http://[2002:7f00:1::]:PORT/",
    "http://[2001::7f00:1]:PORT/",
    "http://[2001:0:7f00:1::]:PORT/",
    "http://[fe80::1]:PORT/",
    "http://[fe80::1%25lo]:PORT/",
    "http://[fe80::1%lo]:PORT/",
    "http://[fec0::1]:PORT/",
    "http://[fc00::1]:PORT/",
    "http://[fd00:ec2::254]:PORT/",
    "http://[ff02::1]:PORT/",
    "http://[ff01::1]:PORT/",
    "http://[100::1]:PORT/",
    "http://[2001:db8::1]:PORT/",
    "http://[3fff::1]:PORT/",
    "http://[::1].:PORT/",
    // other letters for the same digits and names
    "http://\u{2460}\u{2461}\u{2466}.0.0.1:PORT/",
    "http://\u{ff11}\u{ff12}\u{ff17}.0.0.1:PORT/",
    "http://127\u{3002}0\u{3002}0\u{3002}1:PORT/",
    "http://127\u{ff0e}0\u{ff0e}0\u{ff0e}1:PORT/",
    "http://127\u{ff61}0.0.1:PORT/",
    "http://\u{1d7cf}\u{1d7d0}\u{1d7d5}.0.0.1:PORT/",
    "http://\u{ff10}\u{ff58}7f.1:PORT/",
    "http://127.0.0.\u{2474}:PORT/",
    "http://127.0.0.\u{00b9}:PORT/",
    "http://1\u{00ad}27.0.0.1:PORT/",
    "http://127.0.0.1\u{200b}:PORT/",
    "http://%31%32%37.0.0.1:PORT/",
    "http://127%2e0%2e0%2e1:PORT/",
    "http://%30x7f.1:PORT/",
    "http://localhost:PORT/",
    "http://LOCALHOST:PORT/",
    "http://localhost.:PORT/",
    "http://LocalHost..:PORT/",
    "http://l\u{24de}calhost:PORT/",
    "http://\u{24db}\u{24de}\u{24d2}\u{24d0}\u{24db}\u{24d7}\u{24de}\u{24e2}\u{24e3}:PORT/",
    "http://\u{ff4c}ocalhost:PORT/",
    "http://loc\u{00ad}alhost:PORT/",
    "http://%6cocalhost:PORT/",
    "http://ip6-localhost:PORT/",
    // private, shared, link-local, metadata, reserved
    "http://10.0.0.1:PORT/",
    "http://10.255.255.255:PORT/",
    "http://012.0.0.1:PORT/",
    "http://0xa.0.0.1:PORT/",
    "http://167772161:PORT/",
    "http://172.16.0.1:PORT/",
    "http://172.31.255.255:PORT/",
    "http://192.168.0.1:PORT/",
    "http://3232235521:PORT/",
    "http://0300.0250.0.1:PORT/",
    "http://100.64.0.1:PORT/",
    "http://100.100.100.200:PORT/",
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.43518/latest/",
    "http://2852039166/latest/",
    "http://0xa9fea9fe/latest/",
    "http://0251.0376.0251.0376/latest/",
    "http://192.0.0.192/",
    "http://192.0.2.1/",
    "http://198.18.0.1/",
    "http://198.51.100.1/",
    "http://203.0.113.1/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    // two readers, two hosts
    "http://example.com@127.0.0.1:PORT/",
    "http://example.com:80@127.0.0.1:PORT/",
    "http://127.0.0.1:PORT@example.com/",
    "http://example.com\\@127.0.0.1:PORT/",
    "http://127.0.0.1:PORT\\@example.com/",
    "http:\\\\127.0.0.1:PORT\\",
    "http:/127.0.0.1:PORT/",
    "http:127.0.0.1:PORT/",
    "http:///127.0.0.1:PORT/",
    "http:////127.0.0.1:PORT/",
    "http://127.0.0.1:PORT#@example.com/",
    "http://127.0.0.1:PORT?@example.com/",
    "http://127.0.0.1:PORT;example.com/",
    "http://127.0.0.1\t:PORT/",
    "ht\ntp://127.0.0.1:PORT/",
    "http://12\t7.0.0.1:PORT/",
    "\thttp://127.0.0.1:PORT/",
    "http://127.0.0.1:PORT\r\nHost: example.com/",
    "http://127.0.0.1\0.example.com:PORT/",
    "http://127.0.0.1%00.example.com:PORT/",
    "http://127.0.0.1%20:PORT/",
    "https://127.0.0.1:PORT/",
    "https://localhost:PORT/",
    "HTTP://127.0.0.1:0PORT/",
    "ws://127.0.0.1:PORT/",
    "ftp://127.0.0.1:PORT/",
    "gopher://127.0.0.1:PORT/_GET%20/",
    "file:///etc/passwd",
    "data:text/plain,x",
    "jar:http://127.0.0.1:PORT/!/",
];

/// A server on both loopbacks and one port that must never see a connection.
async fn canaries() -> (Bed, Option<Bed>) {
    let (v4, _) = Bed::bytes(answer("200 OK", b"reached"), false).await;
    let v6 = Bed::bytes_at(&format!("[::1]:{}", v4.port()), answer("200 OK", b"reached"), false).await;
    if v6.is_err() {
        eprintln!("skipped: the half of this test on ::1, which this machine does not have");
    }
    (v4, v6.ok().map(|(bed, _)| bed))
}

#[tokio::test]
async fn no_spelling_of_our_own_network_is_connected_to() {
    assert!(OWN_NETWORK.len() >= 150, "{}", OWN_NETWORK.len());
    let (v4, v6) = canaries().await;
    let client = client(&[]);
    for spelling in OWN_NETWORK {
        let url = spelling.replace("PORT", &v4.port().to_string());
        let error = get_text(&client, &url).await.expect_err(&url);
        let refused =
            matches!(error, WebError::BadUrl(_) | WebError::OwnNetwork { .. } | WebError::NoHost { .. });
        assert!(refused, "{url:?} went as far as {error:?}");
    }
    assert_eq!(v4.connections() + v6.map_or(0, |bed| bed.connections()), 0);
}

#[tokio::test]
async fn no_redirect_leads_to_our_own_network() {
    let (v4, v6) = canaries().await;
    for spelling in OWN_NETWORK {
        let target = spelling.replace("PORT", &v4.port().to_string());
        let Ok(location) = HeaderValue::from_bytes(target.as_bytes()) else { continue };
        let mut redirect = b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\nlocation: ".to_vec();
        redirect.extend_from_slice(location.as_bytes());
        redirect.extend_from_slice(b"\r\nconnection: close\r\n\r\n");
        let (door, _) = Bed::bytes(redirect, false).await;
        let client = client(&[door.address.to_string()]);
        let told = get_text(&client, &format!("http://{}/", door.address)).await;
        let refused = match &told {
            // Going there is another call, which is refused as above.
            Ok(text) => text.is_empty(),
            // A relative reference (`http:127.0.0.1`) leads back to the server itself, again and again.
            Err(error) => matches!(error, WebError::BadRedirect { .. } | WebError::TooManyRedirects { .. }),
        };
        assert!(refused, "{target:?} went as far as {told:?}");
        assert!(door.connections() >= 1, "the door itself is open");
    }
    assert_eq!(v4.connections() + v6.map_or(0, |bed| bed.connections()), 0);
}

#[tokio::test]
async fn a_canary_is_reached_where_it_is_listed() {
    let (v4, _) = canaries().await;
    let client = client(&[v4.address.to_string()]);
    assert_eq!(get_text(&client, &format!("http://{}/", v4.address)).await.unwrap(), "reached");
    assert_eq!(get_text(&client, &format!("http://0x7f.1:{}/", v4.port())).await.unwrap(), "reached");
    assert!(get_text(&client, &format!("http://127.0.0.2:{}/", v4.port())).await.is_err());
}

/// Runs the test above once more, in a process whose environment names a proxy.
#[tokio::test]
async fn the_proxy_of_the_environment_is_not_asked() {
    let (proxy, _) = Bed::bytes(answer("200 OK", b"by proxy"), false).await;
    let url = format!("http://{}", proxy.address);
    let again = tokio::task::spawn_blocking(move || {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env(name, &url);
        }
        command.args(["--exact", "client::tests::a_canary_is_reached_where_it_is_listed"]).output().unwrap()
    });
    let output = again.await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(proxy.connections(), 0);
}

#[tokio::test]
async fn names_are_judged_by_all_their_addresses_each_time() {
    let (canary, _) = canaries().await;
    let port = canary.port();
    let lookup = FakeLookup::new(&[
        "private.test=127.0.0.1",
        "mixed.test=93.184.215.14,127.0.0.1",
        "mixed6.test=2606:2800:21f:cb07::1,::1",
        "mapped.test=::ffff:127.0.0.1",
        "nat64.test=64:ff9b::7f00:1",
        "metadata.test=169.254.169.254",
        "trusted.test=127.0.0.1;169.254.169.254",
        "rebound.test=127.0.0.1;10.0.0.1",
    ]);
    let private = [format!("trusted.test:{port}"), format!("127.0.0.1:{port}")];
    let open = Client::new(settings(&private), Arc::clone(&lookup) as Arc<dyn Lookup>);
    let closed = Client::new(settings(&[]), lookup);
    for name in ["private", "mixed", "mixed6", "mapped", "nat64", "metadata"] {
        let error = get_text(&closed, &format!("http://{name}.test:{port}/")).await.unwrap_err();
        assert!(matches!(error, WebError::OwnNetwork { .. }), "{name}: {error:?}");
    }
    assert_eq!(canary.connections(), 0);
    let error = get_text(&closed, &format!("http://nowhere.test:{port}/")).await.unwrap_err();
    assert!(matches!(error, WebError::NoHost { .. }), "{error:?}");
    // The first answer may be reached, the second may not; the connection is closed in between.
    for name in ["trusted", "rebound"] {
        let url = format!("http://{name}.test:{port}/");
        assert_eq!(get_text(&open, &url).await.unwrap(), "reached");
        let error = get_text(&open, &url).await.unwrap_err();
        assert!(matches!(error, WebError::OwnNetwork { .. }), "{name}: {error:?}");
    }
    assert_eq!(canary.connections(), 2);
}

#[tokio::test]
async fn a_redirect_leads_to_no_other_place_by_itself() {
    async fn show(headers: Headers) -> String {
        let named = |name: &str| headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
        format!(
            "authorization {}, x-api-key {}, accept {}",
            named("authorization"),
            named("x-api-key"),
            named("accept")
        )
    }
    let other = Bed::app(Router::new().route("/show", get(show))).await;
    let back = format!("http://other.test:{}/show", other.port());
    let first = Bed::app(
        Router::new()
            .route("/show", get(show))
            .route("/same", get(async || Redirect::temporary("/show")))
            .route("/away", get(async move || Redirect::temporary(&back))),
    )
    .await;
    let private = [first.address.to_string(), format!("other.test:{}", other.port())];
    let client = Client::new(settings(&private), FakeLookup::new(&["other.test=127.0.0.1"]));
    let mut seen = Vec::new();
    for path in ["show", "same", "away"] {
        let mut request = outgoing(&format!("http://{}/{path}", first.address)).unwrap();
        request.headers.insert(header::ACCEPT, HeaderValue::from_static("all"));
        request.own_headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer t"));
        request.own_headers.insert("x-api-key", HeaderValue::from_static("k"));
        let answer = client.send(&request, &|_| Ok(())).await.unwrap();
        let (status, away) = (answer.status.as_u16(), answer.away.clone().map_or("-".into(), String::from));
        let (body, _) = answer.read(0, 1024).await.unwrap();
        let line = format!("{path}: {status} to {away}, {}", String::from_utf8(body).unwrap());
        seen.push(line.replace(&other.port().to_string(), "PORT"));
    }
    expect![[r#"
        show: 200 to -, authorization Bearer t, x-api-key k, accept all
        same: 200 to -, authorization Bearer t, x-api-key k, accept all
        away: 307 to http://other.test:PORT/show, "#]]
    .assert_eq(&seen.join("\n"));
    assert_eq!(other.connections(), 0);
}

/// Serves one answer and shows what becomes of it, less the port.
async fn check(answer: Vec<u8>, expected: Expect) {
    let (bed, _closed) = Bed::bytes(answer, false).await;
    let client = client(&[bed.address.to_string()]);
    let shown = match get_text(&client, &format!("http://{}/", bed.address)).await {
        Ok(text) => format!("{} bytes: {:?}", text.len(), text.chars().take(20).collect::<String>()),
        Err(e) => e.to_string(),
    };
    expected.assert_eq(&shown.replace(&bed.port().to_string(), "PORT"));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

#[tokio::test]
async fn answers_are_read_to_their_bounds() {
    let head = "200 OK\r\ncontent-type: text/plain";
    check(answer(head, &[b'x'; 1023]), expect![[r#"1023 bytes: "xxxxxxxxxxxxxxxxxxxx""#]]).await;
    check(answer(head, &[b'x'; 1024]), expect![[r#"1024 bytes: "xxxxxxxxxxxxxxxxxxxx""#]]).await;
    check(answer(head, &[b'x'; 1025]), expect![[r#"1024 bytes: "xxxxxxxxxxxxxxxxxxxx""#]]).await;
    let packed = "200 OK\r\ncontent-encoding: gzip";
    check(answer(packed, &gzip(b"small")), expect![[r#"5 bytes: "small""#]]).await;
    check(answer(packed, &gzip(&vec![b'x'; 64 << 20])), expect![[r#"1024 bytes: "xxxxxxxxxxxxxxxxxxxx""#]])
        .await;
    check(answer(packed, b"not gzip at all"), expect!["127.0.0.1:PORT broke off before it had answered"])
        .await;
    check(
        answer("200 OK\r\ncontent-encoding: gzip, gzip", &gzip(&gzip(b"twice"))),
        expect![[r#"127.0.0.1:PORT answered in the encoding "gzip, gzip", which is not known here"#]],
    )
    .await;
    check(
        answer("200 OK\r\ncontent-encoding: br", b"what"),
        expect![[r#"127.0.0.1:PORT answered in the encoding "br", which is not known here"#]],
    )
    .await;
    let header = |count: usize, length: usize| {
        let lines: String = (0..count).map(|i| format!("\r\nx-{i}: {}", "v".repeat(length))).collect();
        answer(&format!("200 OK{lines}"), b"ok")
    };
    check(header(HEADERS_MAX - 1, 1), expect![[r#"2 bytes: "ok""#]]).await;
    check(header(HEADERS_MAX, 1), expect!["127.0.0.1:PORT broke off before it had answered"]).await;
    check(header(10, 6_500), expect![[r#"2 bytes: "ok""#]]).await;
    check(header(10, 6_600), expect!["127.0.0.1:PORT answered with headers of more than 65536 bytes"]).await;
    check(
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort".to_vec(),
        expect!["127.0.0.1:PORT broke off before it had answered"],
    )
    .await;
    check(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), expect!["127.0.0.1:PORT broke off before it had answered"])
        .await;
    check(Vec::new(), expect!["127.0.0.1:PORT broke off before it had answered"]).await;
}

#[tokio::test]
async fn redirects_end() {
    let redirect = |to: &str| answer(&format!("302 Found\r\ncontent-length: 0\r\nlocation: {to}"), b"");
    check(redirect("/again"), expect!["127.0.0.1:PORT redirected more than 5 times"]).await;
    check(redirect("ftp://example.com/"), expect![[r#"127.0.0.1:PORT redirected to a place that is not followed: the scheme "ftp" is not taken; use http or https"#]]).await;
    check(redirect("http://user:pw@example.com/"), expect!["127.0.0.1:PORT redirected to a place that is not followed: the URL must not hold a user name or password"]).await;
    check(
        redirect("http://["),
        expect!["127.0.0.1:PORT redirected to a place that is not followed: invalid IPv6 address"],
    )
    .await;
    check(answer("302 Found\r\ncontent-length: 0", b""), expect![[r#"0 bytes: """#]]).await;
    check(answer("304 Not Modified\r\nlocation: /x", b""), expect![[r#"0 bytes: """#]]).await;
    let client = client(&[]);
    let from = Url::parse("https://a.test/").unwrap();
    expect!["a.test redirected to a place that is not followed: it leads from https to http at a.test"]
        .assert_eq(&client.follow(&from, "http://a.test/").unwrap_err().to_string());
    assert_eq!(client.follow(&from, "//b.test/x").unwrap().as_str(), "https://b.test/x");
}

#[tokio::test]
async fn the_right_number_of_redirects_is_followed() {
    let hops = Router::new().route(
        "/{left}",
        get(async |axum::extract::Path(left): axum::extract::Path<u32>| match left {
            0 => Err("arrived"),
            _ => Ok(Redirect::to(&format!("/{}", left - 1))),
        }),
    );
    let bed = Bed::app(hops).await;
    let client = client(&[bed.address.to_string()]);
    assert_eq!(get_text(&client, &format!("http://{}/5", bed.address)).await.unwrap(), "arrived");
    let error = get_text(&client, &format!("http://{}/6", bed.address)).await.unwrap_err();
    assert!(matches!(error, WebError::TooManyRedirects { max: 5, .. }), "{error:?}");
}

#[tokio::test]
async fn only_reading_requests_follow_redirects() {
    let (bed, _) = Bed::bytes(answer("307 Temporary Redirect\r\nlocation: /b", b""), false).await;
    let client = client(&[bed.address.to_string()]);
    let mut request = outgoing(&format!("http://{}/", bed.address)).unwrap();
    request.method = Method::POST;
    assert_eq!(client.send(&request, &|_| Ok(())).await.unwrap().status, 307);
    assert_eq!(bed.connections(), 1);
}

#[tokio::test]
async fn every_hop_is_held_against_the_rule() {
    let (bed, _) = Bed::bytes(answer("302 Found\r\nlocation: /other", b""), false).await;
    let client = client(&[bed.address.to_string()]);
    let request = outgoing(&format!("http://{}/", bed.address)).unwrap();
    let rule = |url: &Url| match url.path() {
        "/" => Ok(()),
        path => Err(WebError::NotListed { host: path.to_owned() }),
    };
    let error = client.send(&request, &rule).await.unwrap_err();
    assert!(matches!(&error, WebError::NotListed { host } if host == "/other"), "{error:?}");
}

#[tokio::test]
async fn work_that_is_stopped_or_late_closes_its_connection() {
    for stage in ["head", "body"] {
        let sent = if stage == "head" { Vec::new() } else { b"HTTP/1.1 200 OK\r\n\r\nbegun".to_vec() };
        let (bed, mut closed) = Bed::bytes(sent, true).await;
        let client = client(&[bed.address.to_string()]);
        let request = outgoing(&format!("http://{}/", bed.address)).unwrap();
        let work = async || client.send(&request, &|_| Ok(())).await?.read(0, 1024).await;
        let (_source, never) = StopSource::new();

        let soon = Instant::now() + Duration::from_millis(100);
        let error = within("slow.test", soon, &never, work()).await.unwrap_err();
        assert!(matches!(error, WebError::Timeout { .. }), "{stage}: {error:?}");
        closed.recv().await.unwrap();

        let (source, stop) = StopSource::new();
        let later = Instant::now() + Duration::from_secs(60);
        let reached = bed.connections();
        let ask = async {
            while bed.connections() == reached {
                tokio::task::yield_now().await;
            }
            source.ask();
        };
        let (ended, ()) = tokio::join!(within("slow.test", later, &stop, work()), ask);
        assert!(matches!(ended.unwrap_err(), WebError::Cancelled), "{stage}");
        closed.recv().await.unwrap();
    }
}

#[tokio::test]
async fn connections_are_kept_for_so_many_hosts() {
    let client = client(&[]);
    for i in 0..HOSTS_MAX + 3 {
        let url = Url::parse(&format!("http://h{i}.test/")).unwrap();
        client.host_client(&client.guard(&url)).unwrap();
    }
    let hosts = client.hosts.lock().unwrap();
    assert_eq!((hosts.len(), hosts[0].0.as_str()), (HOSTS_MAX, "h3.test:80"));
}
