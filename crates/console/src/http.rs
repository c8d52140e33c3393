//! The page and its stream: one snapshot, then what is new, at most four times a second.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderName, header},
    response::{
        Html, IntoResponse,
        sse::{Event, KeepAlive, Sse},
    },
    routing::get,
};
use futures_util::stream;

use crate::feed::Feed;

/// The feed as the reader thread and the page share it.
#[derive(Debug, Clone, Default)]
pub struct SharedFeed {
    feed: Arc<Mutex<Feed>>,
}

impl SharedFeed {
    /// Runs `change` on the feed. A reader that panicked has left it whole: every change is a plain addition.
    pub fn with<R>(&self, change: impl FnOnce(&mut Feed) -> R) -> R {
        change(&mut self.feed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The routes: `/`, `/feed` (server-sent events) and `/snapshot` (JSON).
pub fn routes(feed: SharedFeed) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/feed", get(follow))
        .route("/snapshot", get(snapshot))
        .with_state(feed)
}

async fn page() -> impl IntoResponse {
    let headers = [
        (header::CACHE_CONTROL, "no-cache"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, Html(include_str!("page.html")))
}

async fn snapshot(State(feed): State<SharedFeed>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/json")],
        feed.with(|feed| feed.json(0, 0)).to_string(),
    )
}

struct Follower {
    feed: SharedFeed,
    seen: u64,
    events: u64,
    at: Option<Instant>,
}

async fn follow(State(feed): State<SharedFeed>) -> impl IntoResponse {
    let follower = Follower {
        feed,
        seen: 0,
        events: 0,
        at: None,
    };
    let deltas = stream::unfold(follower, |mut follower| async move {
        if follower.at.is_some() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let now = Instant::now();
        let elapsed = follower.at.map_or(0.0, |at| now.duration_since(at).as_secs_f64());
        let (total, seen, data) = follower.feed.with(|feed| {
            let grown = feed.total_events().saturating_sub(follower.events);
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rate for the eye"
            )]
            let rate = if elapsed > 0.0 {
                (grown as f64 / elapsed) as u64
            } else {
                0
            };
            (feed.total_events(), feed.newest(), feed.json(follower.seen, rate))
        });
        follower.events = total;
        follower.seen = seen;
        follower.at = Some(now);
        let event = Event::default().id(seen.to_string()).data(data.to_string());
        Some((Ok::<_, Infallible>(event), follower))
    });
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
    (
        [(HeaderName::from_static("x-accel-buffering"), "no")],
        Sse::new(deltas).keep_alive(keep_alive),
    )
}
