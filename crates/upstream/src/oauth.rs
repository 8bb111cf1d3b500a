//! Tokens for a server that wants them: found out where, asked for, kept, renewed before they end and when they are
//! refused. The flows are rmcp's; what is here says when which of them runs, and keeps what comes of them.
//!
//! Source: MCP 2026-07-28, basic/authorization; RFC 9728, 8414, 7591, 8707, 9207.

mod config;
mod web;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rmcp::transport::auth::{
    AuthError, AuthorizationCallback, AuthorizationManager, ClientCredentialsConfig, CredentialStore as _,
    InMemoryCredentialStore, JwtSigningAlgorithm, OAuthClientConfig, OAuthHttpClient, StoredCredentials,
    WWWAuthenticateParams,
};
use rustls::ClientConfig;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use state::{Grants, StateError};
use tokio::{runtime::Handle, sync::Mutex, time::Instant};
use tool::{Clock, Secret};
use url::Url;

pub use self::config::{GrantType, OAuthConfig, SigningAlgorithm};
use self::web::Web;
pub(crate) use self::web::is_this_machine;
use crate::error::{UpstreamError, excerpt, with_causes};

/// How long before its end a token is renewed; less for those that do not live long.
const EARLY: Duration = Duration::from_secs(30);
/// How often in a row a server may refuse what we come with before it is given up for a while.
const VAIN_MAX: u32 = 3;
/// And for how long.
const VAIN_WAIT: Duration = Duration::from_secs(60);
/// Where nobody listens: whoever opens the login page without a browser reads the way back off the answer.
const NO_LISTENER: &str = "http://127.0.0.1:33418/callback";
/// What we call ourselves where we register.
const CLIENT_NAME: &str = "Portcullis";

/// What the flows of one server are made of.
pub(crate) struct Means {
    pub(crate) server: String,
    pub(crate) url: Url,
    pub(crate) config: OAuthConfig,
    pub(crate) client_secret: Option<Secret>,
    pub(crate) private_key: Option<Secret>,
    pub(crate) allow_private: Vec<String>,
    pub(crate) connect_timeout: Duration,
    pub(crate) tls: Option<ClientConfig>,
    pub(crate) grants: Arc<dyn Grants>,
    pub(crate) clock: Arc<dyn Clock>,
    /// True where login pages are opened without a browser, and what the server names on this machine is reached.
    pub(crate) is_trial: bool,
}

/// The tokens of one server.
pub(crate) struct OAuth {
    means: Means,
    web: Arc<Web>,
    bearer: ArcSwapOption<Bearer>,
    /// What the server said that wants a login, until there was one.
    wanted: ArcSwapOption<Challenge>,
    /// True once the server took what it was given.
    is_proved: AtomicBool,
    flow: Mutex<Flow>,
}

impl std::fmt::Debug for OAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OAuth").field("server", &self.means.server).finish_non_exhaustive()
    }
}

struct Bearer {
    value: HeaderValue,
    /// When it is to be renewed; `None` where nobody said how long it lives.
    stale_at: Option<Instant>,
}

#[derive(Default)]
struct Flow {
    manager: Option<AuthorizationManager>,
    /// The authorization server, as it was found last.
    found: Option<Found>,
    /// Who we are to it, in what it gave us.
    client: Option<Registered>,
    /// Who we are in the login that is under way. One that nobody ends changes nothing.
    pending: Option<Registered>,
    /// What it gave us.
    memory: InMemoryCredentialStore,
    is_restored: bool,
    /// How often in a row we were refused, and since when.
    vain: Option<(u32, Instant)>,
}

/// What an authorization server says of itself.
#[derive(Clone)]
struct Found {
    issuer: Option<String>,
    /// True where it takes the URL of a document for the name of a client.
    takes_documents: bool,
}

/// Who we are to an authorization server.
#[derive(Clone, Serialize, Deserialize)]
struct Registered {
    issuer: Option<String>,
    client_id: String,
    client_secret: Option<String>,
    redirect_uri: String,
}

/// What is kept of a login.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The server that it is for: tokens never go elsewhere.
    url: String,
    client: Registered,
    credentials: StoredCredentials,
}

/// What a server says that wants a token, or another one.
#[derive(Clone)]
pub(crate) struct Challenge {
    said: Option<String>,
    /// True where the token is one, but not enough.
    wants_more: bool,
}

impl Challenge {
    /// Reads it off an answer.
    pub(crate) fn read(status: StatusCode, headers: &HeaderMap, url: &Url) -> Option<Self> {
        let all = headers.get_all(header::WWW_AUTHENTICATE);
        let mut said = all.iter().filter_map(|value| value.to_str().ok());
        match status {
            StatusCode::UNAUTHORIZED => {
                let is_bearer = |text: &&str| text.get(..6).is_some_and(|s| s.eq_ignore_ascii_case("bearer"));
                Some(Self { said: said.find(is_bearer).map(str::to_owned), wants_more: false })
            }
            StatusCode::FORBIDDEN => {
                let wants_more =
                    |text: &&str| WWWAuthenticateParams::parse(text, url).is_insufficient_scope();
                said.find(wants_more).map(|text| Self { said: Some(text.to_owned()), wants_more: true })
            }
            _ => None,
        }
    }

    /// The scopes that the token has not, where that is what is wrong with it.
    fn more(&self, url: &Url) -> Option<String> {
        let said = self.said.as_ref().filter(|_| self.wants_more)?;
        Some(WWWAuthenticateParams::parse(said, url).scope.unwrap_or_default())
    }
}

impl OAuth {
    pub(crate) fn new(means: Means) -> Arc<Self> {
        let web = Web {
            server: means.server.clone(),
            allow_private: means.allow_private.clone(),
            is_local: means.is_trial && is_this_machine(&means.url),
            connect_timeout: means.connect_timeout,
            tls: means.tls.clone(),
        };
        Arc::new(Self {
            web: Arc::new(web),
            means,
            bearer: ArcSwapOption::empty(),
            wanted: ArcSwapOption::empty(),
            is_proved: AtomicBool::new(false),
            flow: Mutex::default(),
        })
    }

    /// What goes out as `Authorization`; `None` where there is no token yet, so that the server says what it wants.
    pub(crate) async fn authorization(&self) -> Option<HeaderValue> {
        if let Some(value) = self.fresh() {
            return Some(value);
        }
        let mut flow = self.flow.lock().await;
        if let Some(value) = self.fresh() {
            return Some(value);
        }
        if let Err(error) = self.restore(&mut flow).await {
            tracing::warn!(server = self.means.server, %error, "what was granted for a tool server cannot be read");
        }
        let has_ended = self.bearer.load().is_some() && self.fresh().is_none();
        if has_ended && let Err(error) = self.renew(&mut flow).await {
            // It may live on a little: whether it does is for the server to say.
            tracing::warn!(server = self.means.server, %error, "a token could not be renewed");
        }
        self.bearer.load().as_ref().map(|bearer| bearer.value.clone())
    }

    fn fresh(&self) -> Option<HeaderValue> {
        let bearer = self.bearer.load();
        let bearer = bearer.as_ref()?;
        bearer.stale_at.is_none_or(|at| Instant::now() < at).then(|| bearer.value.clone())
    }

    /// The server took what it was given.
    pub(crate) fn proved(&self) {
        if !self.is_proved.load(Ordering::Relaxed) {
            self.is_proved.store(true, Ordering::Relaxed);
        }
    }

    /// The server did not take `used`: gets something else, for the next request.
    ///
    /// Error: there is nothing else, or a person has to be asked.
    pub(crate) async fn challenged(
        &self,
        used: Option<&HeaderValue>,
        challenge: &Challenge,
    ) -> Result<(), UpstreamError> {
        let mut flow = self.flow.lock().await;
        // Somebody else was told the same, and has done it.
        if self.bearer.load().as_ref().is_some_and(|bearer| Some(&bearer.value) != used) {
            return Ok(());
        }
        self.restore(&mut flow).await.map_err(refused)?;
        let can_try = self.is_machine() || self.means.is_trial;
        let can_refresh = !challenge.wants_more && flow.can_refresh().await?;
        if !can_try && !can_refresh {
            // Nobody is asked who is not there, and the authorization server is left alone.
            return Err(self.want_login(challenge));
        }
        flow.count_vain(self.is_proved.swap(false, Ordering::Relaxed))?;
        self.discover(&mut flow, challenge.said.as_deref()).await?;
        if self.is_machine() {
            return self.exchange(&mut flow).await;
        }
        if can_refresh && self.refresh(&mut flow).await? {
            return self.adopt(&mut flow).await;
        }
        if !can_try {
            return Err(self.want_login(challenge));
        }
        let more = challenge.more(&self.means.url);
        let page = self.begin_login(&mut flow, NO_LISTENER, more.as_deref()).await?;
        let back = self.web.visit(&page, NO_LISTENER).await?;
        self.end_login(&mut flow, &back).await
    }

    fn want_login(&self, challenge: &Challenge) -> UpstreamError {
        self.wanted.store(Some(Arc::new(challenge.clone())));
        UpstreamError::LoginWanted(self.means.server.clone())
    }

    /// Begins a login by a person, who comes back to `redirect`, and gives the page to open.
    pub(crate) async fn begin(&self, redirect: &str) -> Result<String, UpstreamError> {
        if self.is_machine() {
            let text = "it is logged in to with the client's own credentials; nobody has to be asked";
            return Err(UpstreamError::Authorization(text.to_owned()));
        }
        let mut flow = self.flow.lock().await;
        self.restore(&mut flow).await.map_err(refused)?;
        let wanted = self.wanted.load_full();
        self.discover(&mut flow, wanted.as_ref().and_then(|wanted| wanted.said.as_deref())).await?;
        let more = wanted.and_then(|wanted| wanted.more(&self.means.url));
        self.begin_login(&mut flow, redirect, more.as_deref()).await
    }

    /// Ends it, with the address that the person came back with.
    pub(crate) async fn finish(&self, callback: &str) -> Result<(), UpstreamError> {
        let mut flow = self.flow.lock().await;
        flow.vain = None;
        self.end_login(&mut flow, callback).await
    }

    /// Forgets what was granted.
    pub(crate) async fn forget(&self) -> Result<(), StateError> {
        let mut flow = self.flow.lock().await;
        *flow = Flow { is_restored: true, ..Flow::default() };
        self.bearer.store(None);
        self.wanted.store(None);
        self.means.grants.grant(&self.means.server, None).await
    }

    /// What goes out now, so that no error shows it.
    pub(crate) fn shown(&self) -> Option<Secret> {
        let value = self.bearer.load().as_ref().map(|bearer| bearer.value.clone())?;
        Some(Secret::new(value.to_str().ok()?.to_owned()))
    }

    /// True where there is a token, and the server wants no other one.
    pub(crate) fn is_granted(&self) -> bool {
        self.bearer.load().is_some() && self.wanted.load().is_none()
    }

    fn is_machine(&self) -> bool {
        self.means.config.grant == GrantType::ClientCredentials
    }

    /// Takes up what was granted before, once.
    async fn restore(&self, flow: &mut Flow) -> Result<(), StateError> {
        if std::mem::replace(&mut flow.is_restored, true) || self.is_machine() {
            return Ok(());
        }
        let kept = self.means.grants.granted(&self.means.server).await?;
        let kept = kept.and_then(|text| serde_json::from_str::<Kept>(text.expose()).ok());
        let Some(kept) = kept.filter(|kept| kept.url == self.means.url.as_str()) else { return Ok(()) };
        // A client that was written into the configuration since is another one.
        if self.means.config.client_id.as_ref().is_some_and(|id| *id != kept.client.client_id) {
            return Ok(());
        }
        let now = u64::try_from(self.means.clock.now().unix_ms() / 1_000).unwrap_or(0);
        let age = kept.credentials.token_received_at.map_or(0, |at| now.saturating_sub(at));
        self.bearer.store(bearer(&json!(kept.credentials), age).map(Arc::new));
        if flow.memory.save(kept.credentials).await.is_ok() {
            flow.client = Some(kept.client);
        }
        Ok(())
    }

    /// Gets a new token for one that is about to end, without that anybody asked for it.
    async fn renew(&self, flow: &mut Flow) -> Result<(), UpstreamError> {
        self.discover(flow, None).await?;
        if self.is_machine() {
            return self.exchange(flow).await;
        }
        if self.refresh(flow).await? { self.adopt(flow).await } else { Ok(()) }
    }

    /// Finds the authorization server, and out whether it is the one that we are known to.
    async fn discover(&self, flow: &mut Flow, challenge: Option<&str>) -> Result<(), UpstreamError> {
        let manager = match &mut flow.manager {
            Some(manager) => manager,
            none => none.insert(self.manager(&flow.memory).await?),
        };
        let resolved = manager.resolve_metadata_from_challenge(challenge).await.map_err(not_let_in)?;
        let takes_documents =
            resolved.metadata.additional_fields.get("client_id_metadata_document_supported");
        let found = Found {
            issuer: resolved.metadata.issuer.clone(),
            takes_documents: takes_documents == Some(&Value::Bool(true)),
        };
        manager.set_metadata(resolved.metadata);
        let found = flow.found.insert(found);
        match &flow.client {
            Some(client) if client.issuer == found.issuer => {
                manager.configure_client(client.config(Vec::new())).map_err(not_let_in)
            }
            Some(_) => {
                // What another one gave us is not shown to this one.
                flow.client = None;
                flow.memory.clear().await.map_err(not_let_in)
            }
            None => Ok(()),
        }
    }

    async fn manager(&self, memory: &InMemoryCredentialStore) -> Result<AuthorizationManager, UpstreamError> {
        let web = Arc::clone(&self.web) as Arc<dyn OAuthHttpClient>;
        let made = AuthorizationManager::new_with_oauth_http_client(self.means.url.as_str(), web).await;
        let mut manager = made.map_err(not_let_in)?;
        manager.set_credential_store(memory.clone());
        Ok(manager)
    }

    /// True where the refresh token was exchanged for others; false where there is none that is good.
    async fn refresh(&self, flow: &mut Flow) -> Result<bool, UpstreamError> {
        let can = flow.can_refresh().await?;
        let Some(manager) = flow.manager.as_ref().filter(|_| can) else { return Ok(false) };
        match manager.refresh_token().await {
            Ok(_) => Ok(true),
            Err(AuthError::AuthorizationRequired | AuthError::TokenRefreshRejected(_)) => {
                // It is worth nothing any more, and is not tried again.
                flow.memory.clear().await.map_err(not_let_in)?;
                self.bearer.store(None);
                self.means.grants.grant(&self.means.server, None).await.map_err(refused)?;
                Ok(false)
            }
            Err(error) => Err(not_let_in(error)),
        }
    }

    /// The page on which a person says yes.
    async fn begin_login(
        &self,
        flow: &mut Flow,
        redirect: &str,
        more: Option<&str>,
    ) -> Result<String, UpstreamError> {
        let Flow { manager: Some(manager), found: Some(found), client, pending, .. } = flow else {
            return Err(no_flow());
        };
        let named = &self.means.config.scopes;
        let scopes = match (more, named.is_empty()) {
            (Some(more), _) => manager.select_scopes(Some(&format!("{} {more}", named.join(" "))), &[]),
            (None, true) => manager.select_initial_scopes(&[]).await,
            (None, false) => named.clone(),
        };
        let fits = |known: &&Registered| known.issuer == found.issuer && known.redirect_uri == redirect;
        let known = client.iter().chain(pending.iter()).find(fits).cloned();
        let registered = match known {
            Some(known) => known,
            None => self.register(manager, found.clone(), redirect, &scopes).await?,
        };
        manager.configure_client(registered.config(scopes.clone())).map_err(not_let_in)?;
        *pending = Some(registered);
        let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        manager.get_authorization_url(&scopes).await.map_err(not_let_in)
    }

    /// Who we are: the client that was named, the document that says so, or one that is made now (2026-07-28
    /// basic/authorization/client-registration).
    async fn register(
        &self,
        manager: &mut AuthorizationManager,
        found: Found,
        redirect: &str,
        scopes: &[String],
    ) -> Result<Registered, UpstreamError> {
        let config = &self.means.config;
        let named = |client_id: &str, client_secret: Option<String>| Registered {
            issuer: found.issuer,
            client_id: client_id.to_owned(),
            client_secret,
            redirect_uri: redirect.to_owned(),
        };
        if let Some(client_id) = &config.client_id {
            let secret = self.means.client_secret.as_ref().map(|secret| secret.expose().to_owned());
            return Ok(named(client_id, secret));
        }
        if let Some(document) = config.client_metadata_url.as_ref().filter(|_| found.takes_documents) {
            return Ok(named(document, None));
        }
        let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        let made = manager.register_client(CLIENT_NAME, redirect, &scopes).await.map_err(not_let_in)?;
        Ok(named(&made.client_id, made.client_secret.clone()))
    }

    async fn end_login(&self, flow: &mut Flow, callback: &str) -> Result<(), UpstreamError> {
        let url = Url::parse(callback).map_err(|e| denied(format!("{:?}: {e}", excerpt(callback))))?;
        if let Some((_, why)) = url.query_pairs().find(|(name, _)| name == "error") {
            return Err(denied(format!("the authorization server said {:?}", excerpt(&why))));
        }
        let Flow { manager: Some(manager), pending: Some(pending), .. } = &mut *flow else {
            return Err(no_flow());
        };
        // A token may have been renewed meanwhile, as who we were.
        manager.configure_client(pending.config(Vec::new())).map_err(not_let_in)?;
        let back = AuthorizationCallback::from_redirect_url(callback).map_err(not_let_in)?;
        let exchanged = manager
            .exchange_code_for_token_with_issuer(&back.code, &back.csrf_token, back.issuer.as_deref())
            .await;
        exchanged.map_err(not_let_in)?;
        flow.client = flow.pending.take();
        self.wanted.store(None);
        self.adopt(flow).await
    }

    /// Gets a token for the client itself.
    async fn exchange(&self, flow: &mut Flow) -> Result<(), UpstreamError> {
        let Some(manager) = &mut flow.manager else { return Err(no_flow()) };
        let scopes = match self.means.config.scopes.as_slice() {
            [] => manager.select_initial_scopes(&[]).await,
            scopes => scopes.to_vec(),
        };
        let client_id = self.means.config.client_id.clone().unwrap_or_default();
        let resource = Some(self.means.url.as_str().trim_end_matches('/').to_owned());
        let config = match (&self.means.client_secret, &self.means.private_key) {
            (_, Some(key)) => ClientCredentialsConfig::PrivateKeyJwt {
                client_id,
                signing_key: key.expose().as_bytes().to_vec(),
                signing_algorithm: algorithm(self.means.config.signing_algorithm),
                token_endpoint_audience: None,
                scopes,
                resource,
            },
            (secret, None) => {
                let client_secret = secret.as_ref().map(|secret| secret.expose().to_owned());
                let client_secret = client_secret.unwrap_or_default();
                ClientCredentialsConfig::ClientSecret { client_id, client_secret, scopes, resource }
            }
        };
        manager.validate_client_credentials_metadata(&config).map_err(not_let_in)?;
        manager.configure_client_credentials(&config).map_err(not_let_in)?;
        let Some(manager) = flow.manager.take() else { return Err(no_flow()) };
        // Its future stays on one thread, and ours do not.
        let runtime = Handle::current();
        let exchanging = tokio::task::spawn_blocking(move || {
            let exchanged = runtime.block_on(manager.exchange_client_credentials(&config));
            (manager, exchanged)
        });
        let (manager, exchanged) = exchanging.await.map_err(|e| UpstreamError::Broken(Some(e.into())))?;
        flow.manager = Some(manager);
        exchanged.map_err(not_let_in)?;
        self.adopt(flow).await
    }

    /// What was granted is what goes out from now on, and is kept where a person granted it.
    async fn adopt(&self, flow: &mut Flow) -> Result<(), UpstreamError> {
        let stored = flow.memory.load().await.map_err(not_let_in)?;
        let Some(credentials) = stored else { return Err(denied("it granted nothing".to_owned())) };
        let Some(bearer) = bearer(&json!(credentials), 0) else {
            return Err(denied("what it granted is no token that a header can hold".to_owned()));
        };
        self.bearer.store(Some(Arc::new(bearer)));
        if self.is_machine() {
            return Ok(());
        }
        let Some(client) = flow.client.clone() else { return Err(no_flow()) };
        let kept = Kept { url: self.means.url.as_str().to_owned(), client, credentials };
        let kept = Secret::new(json!(kept).to_string());
        let written = self.means.grants.grant(&self.means.server, Some(&kept)).await;
        // It is good until the end of the process all the same.
        if let Err(error) = written {
            tracing::error!(server = self.means.server, %error, "what was granted for a tool server cannot be kept");
        }
        Ok(())
    }
}

impl Flow {
    /// True where there is something that can be exchanged for another token without a person.
    async fn can_refresh(&self) -> Result<bool, UpstreamError> {
        let stored = self.memory.load().await.map_err(not_let_in)?;
        Ok(self.client.is_some() && json!(stored)["token_response"]["refresh_token"].is_string())
    }

    /// Counts a refusal.
    ///
    /// Error: there were too many in a row.
    fn count_vain(&mut self, is_proved: bool) -> Result<(), UpstreamError> {
        let now = Instant::now();
        let (count, since) =
            self.vain.filter(|(_, since)| !is_proved && now < *since + VAIN_WAIT).unwrap_or((0, now));
        if count >= VAIN_MAX {
            return Err(denied("it refuses every token that it is given".to_owned()));
        }
        self.vain = Some((count + 1, since));
        Ok(())
    }
}

impl Registered {
    fn config(&self, scopes: Vec<String>) -> OAuthClientConfig {
        let config = OAuthClientConfig::new(&self.client_id, &self.redirect_uri).with_scopes(scopes);
        match &self.client_secret {
            Some(secret) => config.with_client_secret(secret),
            None => config,
        }
    }
}

/// The header of what was granted, `age` seconds ago.
fn bearer(credentials: &Value, age: u64) -> Option<Bearer> {
    let token = &credentials["token_response"];
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token["access_token"].as_str()?)).ok()?;
    value.set_sensitive(true);
    let stale_at = token["expires_in"].as_u64().map(|lives| {
        let lives = Duration::from_secs(lives);
        let early = EARLY.min(lives / 4);
        Instant::now() + (lives - early).saturating_sub(Duration::from_secs(age))
    });
    Some(Bearer { value, stale_at })
}

fn algorithm(named: SigningAlgorithm) -> JwtSigningAlgorithm {
    match named {
        SigningAlgorithm::ES256 => JwtSigningAlgorithm::ES256,
        SigningAlgorithm::ES384 => JwtSigningAlgorithm::ES384,
        SigningAlgorithm::RS256 => JwtSigningAlgorithm::RS256,
        SigningAlgorithm::RS384 => JwtSigningAlgorithm::RS384,
        SigningAlgorithm::RS512 => JwtSigningAlgorithm::RS512,
    }
}

fn denied(text: String) -> UpstreamError {
    UpstreamError::Authorization(text)
}

fn no_flow() -> UpstreamError {
    denied("no login is under way; begin anew".to_owned())
}

#[expect(clippy::needless_pass_by_value, reason = "it stands where errors are mapped")]
fn refused(error: StateError) -> UpstreamError {
    denied(error.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "it stands where errors are mapped")]
fn not_let_in(error: AuthError) -> UpstreamError {
    denied(excerpt(&with_causes(&error)))
}
