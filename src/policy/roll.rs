//! The places of routes and limits among the counters: given by name, and kept for as long as the gateway runs.
//!
//! A config that is read again finds its names where they were, so that their counts go on; a new name comes behind all
//! others. A name that has gone keeps its place, for its sessions may still count there and a counter never goes back.

use std::collections::HashMap;
use std::sync::Arc;

use super::limit::{LimitId, LimitInfo};

/// Names that may be remembered beyond those of the present config: each is a few KiB here and some 80 lines of a scrape.
const MOST_GONE: usize = 1000;

/// Limits likewise; a route has some.
const MOST_GONE_LIMITS: usize = 10 * MOST_GONE;

/// Every name that had a place so far.
#[derive(Clone, Debug, Default)]
pub struct Roll {
    /// Routes, by [`super::route::Route::slot`].
    pub routes: Vec<Arc<str>>,
    /// Limits, by [`LimitId`].
    pub limits: Vec<LimitInfo>,
}

impl Roll {
    /// With a place for each of these routes, and no limits.
    #[must_use]
    pub fn of<'a>(routes: impl IntoIterator<Item = &'a str>) -> Arc<Self> {
        Arc::new(Self { routes: routes.into_iter().map(Into::into).collect(), limits: Vec::new() })
    }

    /// What is known of a limit.
    #[must_use]
    pub fn limit(&self, id: LimitId) -> Option<&LimitInfo> {
        self.limits.get(id.0)
    }
}

/// One config being called over: who was there before gets the old place.
#[derive(Debug, Default)]
pub struct Call {
    roll: Roll,
    /// Places of names that did not answer yet.
    routes: HashMap<Arc<str>, usize>,
    /// Likewise; what can't be told apart has several, the last of which is the next to be given.
    limits: HashMap<LimitInfo, Vec<usize>>,
}

impl Call {
    /// Behind the config that is obeyed now, if there is one.
    #[must_use]
    pub fn after(previous: Option<&Roll>) -> Self {
        let Some(roll) = previous.cloned() else { return Self::default() };
        let routes = roll.routes.iter().cloned().zip(0..).collect();
        let mut limits: HashMap<LimitInfo, Vec<usize>> = HashMap::new();
        for (at, info) in roll.limits.iter().enumerate().rev() {
            limits.entry(info.clone()).or_default().push(at);
        }
        Self { roll, routes, limits }
    }

    /// The place of a route.
    pub fn route(&mut self, name: &Arc<str>) -> usize {
        self.routes.remove(name).unwrap_or_else(|| {
            self.roll.routes.push(name.clone());
            self.roll.routes.len() - 1
        })
    }

    /// The place of a limit.
    pub fn limit(&mut self, info: LimitInfo) -> LimitId {
        LimitId(self.limits.get_mut(&info).and_then(Vec::pop).unwrap_or_else(|| {
            self.roll.limits.push(info);
            self.roll.limits.len() - 1
        }))
    }

    /// The roll, once all have answered.
    ///
    /// # Errors
    /// Too many names have gone since the gateway started.
    pub fn finish(self) -> Result<Arc<Roll>, &'static str> {
        let limits_gone: usize = self.limits.values().map(Vec::len).sum();
        if self.routes.len() > MOST_GONE || limits_gone > MOST_GONE_LIMITS {
            return Err(
                "more than 1000 routes or 10000 limits have gone since the gateway started, and each is still counted",
            );
        }
        Ok(Arc::new(self.roll))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::limit::{Action, What};

    fn limit(route: &str, what: What) -> LimitInfo {
        let (zone, actions) = ("".into(), &[Action::Refuse][..]);
        LimitInfo { route: route.into(), what, zone, direction: None, dry_run: false, actions }
    }

    fn call(previous: Option<&Roll>, routes: &[&str], limits: &[LimitInfo]) -> (Vec<usize>, Vec<usize>, Arc<Roll>) {
        let mut call = Call::after(previous);
        let routes = routes.iter().map(|name| call.route(&(*name).into())).collect();
        let limits = limits.iter().map(|info| call.limit(info.clone()).0).collect();
        (routes, limits, call.finish().unwrap())
    }

    #[test]
    fn a_name_keeps_its_place_and_a_new_one_comes_behind_those_that_have_gone() {
        let (rate, cap) = (limit("b", What::Handshakes), limit("b", What::Connections));
        let (routes, limits, first) = call(None, &["a", "b"], &[rate.clone(), cap.clone(), cap.clone()]);
        assert_eq!((routes, limits), (vec![0, 1], vec![0, 1, 2]));
        let (routes, limits, second) = call(Some(&first), &["c", "b"], &[cap.clone(), cap.clone(), cap.clone()]);
        assert_eq!((routes, limits), (vec![2, 1], vec![1, 2, 3]));
        let (routes, limits, third) = call(Some(&second), &["a"], &[rate, cap]);
        assert_eq!((routes, limits), (vec![0], vec![0, 1]));
        assert_eq!((third.routes.len(), third.limits.len()), (3, 4));
    }

    #[test]
    fn what_has_gone_is_remembered_up_to_a_bound() {
        let mut roll = Arc::new(Roll::default());
        for name in 0..=MOST_GONE {
            roll = call(Some(&roll), &[&name.to_string()], &[]).2;
        }
        let mut call = Call::after(Some(&roll));
        call.route(&"0".into());
        assert!(call.finish().is_ok(), "one that comes back has not gone");
        let mut call = Call::after(Some(&roll));
        call.route(&"new".into());
        assert!(call.finish().is_err());
    }
}
