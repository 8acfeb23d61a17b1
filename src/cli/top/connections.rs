//! The live connections, as they are listed: what is known of each, and in which order they stand.

use std::cmp::Ordering;

use serde_json::Value as Json;

/// By what they are sorted. The gateway sorts by the same, so that of many connections those are listed that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// The oldest first.
    Age,
    /// The most first: 0 to the upstream, 1 to the client.
    Messages(usize),
    /// Likewise.
    Bytes(usize),
    /// By the alphabet.
    Subject,
    /// Likewise.
    Route,
    /// Likewise.
    Client,
}

impl Sort {
    pub(super) const ALL: [Self; 8] = [
        Self::Age,
        Self::Messages(0),
        Self::Messages(1),
        Self::Bytes(0),
        Self::Bytes(1),
        Self::Subject,
        Self::Route,
        Self::Client,
    ];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Messages(0) => "messages up",
            Self::Messages(_) => "messages down",
            Self::Bytes(0) => "bytes up",
            Self::Bytes(_) => "bytes down",
            Self::Subject => "subject",
            Self::Route => "route",
            Self::Client => "client",
        }
    }

    /// What `/connections` calls it, and whether it goes downward.
    fn asked(self) -> (&'static str, bool) {
        match self {
            Self::Age => ("since", false),
            Self::Messages(0) => ("messages_to_upstream", true),
            Self::Messages(_) => ("messages_to_client", true),
            Self::Bytes(0) => ("bytes_to_upstream", true),
            Self::Bytes(_) => ("bytes_to_client", true),
            Self::Subject => ("subject", false),
            Self::Route => ("route", false),
            Self::Client => ("client", false),
        }
    }
}

/// Which connections are wanted, and in which order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) sort: Sort,
    pub(super) reversed: bool,
    /// A part of the id, the route, the subject or the address.
    pub(super) filter: String,
}

impl Wanted {
    /// The target to ask for, of at most so many.
    pub(super) fn target(&self, limit: usize) -> String {
        let (sort, downward) = self.sort.asked();
        let order = if downward == self.reversed { "asc" } else { "desc" };
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &limit.to_string()).append_pair("sort", sort).append_pair("order", order);
        if !self.filter.is_empty() {
            query.append_pair("search", &self.filter);
        }
        format!("/connections?{}", query.finish())
    }

    /// Puts what was listed in order; what was asked for a moment ago may be in another.
    pub(super) fn order<'a>(&self, listed: &'a [Row]) -> Vec<&'a Row> {
        let filter = self.filter.to_lowercase();
        let mut rows: Vec<&Row> = listed.iter().filter(|row| row.has(&filter)).collect();
        rows.sort_by(|one, other| {
            let order = match self.sort {
                Sort::Age => other.seconds.cmp(&one.seconds),
                Sort::Messages(way) => other.messages[way].cmp(&one.messages[way]),
                Sort::Bytes(way) => other.bytes[way].cmp(&one.bytes[way]),
                Sort::Subject => one.subject.cmp(&other.subject),
                Sort::Route => one.route.cmp(&other.route),
                Sort::Client => one.client.cmp(&other.client),
            };
            let order = if self.reversed { order.reverse() } else { order };
            // By the id where they are equal, so that they do not jump.
            if order == Ordering::Equal { one.id.cmp(&other.id) } else { order }
        });
        rows
    }
}

/// One connection.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) route: String,
    pub(super) subject: String,
    pub(super) client: String,
    pub(super) upstream: String,
    pub(super) seconds: u64,
    /// To the upstream, to the client.
    pub(super) messages: [u64; 2],
    /// Likewise.
    pub(super) bytes: [u64; 2],
}

impl Row {
    pub(super) fn read(one: &Json) -> Self {
        let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        let each_way =
            |what: &str| ["upstream", "client"].map(|to| one[format!("{what}_to_{to}")].as_u64().unwrap_or_default());
        Self {
            id: text("id"),
            route: text("route"),
            subject: text("subject"),
            client: text("client"),
            upstream: text("upstream"),
            seconds: one["duration_seconds"].as_u64().unwrap_or_default(),
            messages: each_way("messages"),
            bytes: each_way("bytes"),
        }
    }

    fn has(&self, filter: &str) -> bool {
        let texts = [&self.id, &self.route, &self.subject, &self.client];
        texts.into_iter().any(|text| text.to_lowercase().contains(filter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_asked_for_the_order_that_is_shown() {
        let mut wanted = Wanted { sort: Sort::Age, reversed: false, filter: String::new() };
        assert_eq!(wanted.target(10), "/connections?limit=10&sort=since&order=asc");
        wanted = Wanted { sort: Sort::Bytes(1), reversed: false, filter: "a&limit=1 \u{e9}".to_owned() };
        assert_eq!(
            wanted.target(10),
            "/connections?limit=10&sort=bytes_to_client&order=desc&search=a%26limit%3D1+%C3%A9"
        );
        wanted = Wanted { sort: Sort::Subject, reversed: true, filter: String::new() };
        assert_eq!(wanted.target(10), "/connections?limit=10&sort=subject&order=desc");
    }
}
