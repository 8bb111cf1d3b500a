//! The shop as a REST API.

use std::{io, net::SocketAddr, time::Duration};

use axum::{
    Json, Router,
    extract::{
        Path, Query,
        rejection::{PathRejection, QueryRejection},
    },
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tool::Stop;

use crate::{CUSTOMERS, shop};

/// How long requests that are being answered may take to end once it is asked to stop.
const GRACE: Duration = Duration::from_secs(1);
/// The longest that `/slow` waits.
const SLOW_MS_MAX: u64 = 60_000;

/// The sample REST API, bound and ready to run:
///
/// | | |
/// | --- | --- |
/// | `GET /health` | `{"status":"ok"}` |
/// | `GET /customers?limit&offset` | `{customers, limit, offset, total_count}`; limit 1 to 1,000 |
/// | `GET /customers/{id}` | `{id, name, email, city, created_at}` |
/// | `GET /customers/{id}/orders?status` | `{customer_id, orders}`; status `all`, `completed`, `pending` or `cancelled` |
/// | `GET /welcome` | a page of HTML |
/// | `GET /slow?ms` | `{"waited_ms"}`, after that long |
///
/// What it does not know is a 404 and what it does not take a 400, both `{"error"}`.
#[derive(Debug)]
pub struct ShopApi {
    listener: TcpListener,
    local_addr: SocketAddr,
}

impl ShopApi {
    /// Takes the port; connections wait until it runs.
    ///
    /// Error: where the address is in use or not ours.
    pub async fn bind(listen: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let local_addr = listener.local_addr()?;
        Ok(Self { listener, local_addr })
    }

    /// Where it listens, with the port that was taken.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Answers until it is asked to stop, and at most a second longer.
    pub async fn run(self, stop: Stop) -> io::Result<()> {
        tracing::debug!(address = %self.local_addr, "the sample api answers");
        let asked = stop.clone();
        let serving = axum::serve(self.listener, router())
            .with_graceful_shutdown(async move { asked.asked().await })
            .into_future();
        tokio::select! {
            ended = serving => ended,
            () = async { stop.asked().await; tokio::time::sleep(GRACE).await } => Ok(()),
        }
    }
}

fn router() -> Router {
    Router::new()
        .route("/health", get(async || Json(json!({ "status": "ok" }))))
        .route("/customers", get(list_customers))
        .route("/customers/{id}", get(get_customer))
        .route("/customers/{id}/orders", get(list_orders))
        .route("/welcome", get(async || ([(CONTENT_TYPE, "text/html; charset=utf-8")], WELCOME)))
        .route("/slow", get(wait))
        .fallback(async || refuse(StatusCode::NOT_FOUND, "there is no such page"))
}

#[derive(Deserialize)]
struct Paging {
    limit: Option<u32>,
    offset: Option<u32>,
}

async fn list_customers(paging: Result<Query<Paging>, QueryRejection>) -> Response {
    let Ok(Query(paging)) = paging else {
        return refuse(StatusCode::BAD_REQUEST, "limit and offset must be whole numbers");
    };
    let (limit, offset) = (paging.limit.unwrap_or(50), paging.offset.unwrap_or(0));
    if !(1..=1000).contains(&limit) {
        return refuse(StatusCode::BAD_REQUEST, "limit must be 1 to 1000");
    }
    let page: Vec<_> = shop::customers().skip(offset as usize).take(limit as usize).collect();
    let body = json!({ "customers": page, "limit": limit, "offset": offset, "total_count": CUSTOMERS });
    Json(body).into_response()
}

async fn get_customer(id: Result<Path<u32>, PathRejection>) -> Response {
    match id.ok().and_then(|Path(id)| shop::customer(id)) {
        Some(customer) => Json(customer).into_response(),
        None => no_customer(),
    }
}

#[derive(Deserialize)]
struct OrderFilter {
    status: Option<String>,
}

async fn list_orders(id: Result<Path<u32>, PathRejection>, Query(filter): Query<OrderFilter>) -> Response {
    let Some(customer) = id.ok().and_then(|Path(id)| shop::customer(id)) else {
        return no_customer();
    };
    let status = filter.status.as_deref().unwrap_or("all");
    if status != "all" && !shop::STATUSES.contains(&status) {
        return refuse(StatusCode::BAD_REQUEST, "status must be all, completed, pending or cancelled");
    }
    let mut orders = shop::orders(customer.id);
    orders.retain(|order| status == "all" || order.status == status);
    Json(json!({ "customer_id": customer.id, "orders": orders })).into_response()
}

#[derive(Deserialize)]
struct Wait {
    ms: Option<u64>,
}

async fn wait(wait: Result<Query<Wait>, QueryRejection>) -> Response {
    let Ok(Query(Wait { ms })) = wait else {
        return refuse(StatusCode::BAD_REQUEST, "ms must be a whole number");
    };
    let ms = ms.unwrap_or(1000).min(SLOW_MS_MAX);
    tokio::time::sleep(Duration::from_millis(ms)).await;
    Json(json!({ "waited_ms": ms })).into_response()
}

fn no_customer() -> Response {
    refuse(StatusCode::NOT_FOUND, "there is no such customer")
}

fn refuse(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}

const WELCOME: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>The sample shop</title>
<style>body { font-family: sans-serif }</style>
</head>
<body>
<h1>Welcome to the sample shop</h1>
<p>It has 243 customers in eight cities. The largest of them is <b>Acme Corp</b>,
the second largest Beta&nbsp;Inc &mdash; nobody else comes near.</p>
<ul>
<li><a href="/customers/42">Acme Corp</a></li>
<li><a href="/customers?limit=10">the first ten customers</a></li>
</ul>
<script>document.title = "this line must not show";</script>
</body>
</html>
"#;
