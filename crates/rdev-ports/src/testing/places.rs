//! Promises of every implementation of [`Pods`], one function a promise.

use crate::{Pods, Reach, Site, Standing};

/// A command runs where its place and workspace are: of two sites never both are the same, whatever they share.
pub async fn two_sites_never_share_a_place(pods: &dyn Pods, sites: [&Site; 2]) {
    let mut places = Vec::new();
    // Twice: what is known of the one may come with the look at the other.
    for site in [sites[0], sites[1], sites[0], sites[1]] {
        if let Some(Standing::Ready(place)) = pods.place(site).await.expect("places are known") {
            assert_eq!(place.site, *site);
            places.push(place);
        }
    }
    for one in &places {
        for other in places.iter().filter(|other| other.site != one.site) {
            assert_ne!((&one.uid, &one.workspace), (&other.uid, &other.workspace), "{one:?} and {other:?}");
        }
    }
}

/// A place is found by its identity, also by another process (`another`), and what was started there under no other
/// identity.
pub async fn a_place_is_reached_by_its_identity(pods: &dyn Pods, another: &dyn Pods, site: &Site) {
    let Some(Standing::Ready(place)) = pods.place(site).await.expect("places are known") else {
        panic!("{site} is ready");
    };
    for pods in [another, pods] {
        let reached = pods.reach(site, &place.uid).await.expect("places are known");
        assert_eq!(reached, Reach::There(place.clone()));
        let reached = pods.reach(site, "another.one").await.expect("places are known");
        assert!(matches!(reached, Reach::Gone(_)), "{reached:?}");
    }
}
