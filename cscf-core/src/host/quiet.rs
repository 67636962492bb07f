//! Which of many sockets have something: a node with dozens of ports looks only at those that were
//! said to, for a look at each costs more than the datagram that came.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// What the runtime wakes for one socket: it marks the socket and wakes the task of its node.
#[derive(Debug)]
struct Mark {
    set: AtomicBool,
    task: Waker,
}

impl Wake for Mark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.set.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

/// Whether one socket is quiet. It is not until it was waited for once.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    mark: Option<(Arc<Mark>, Waker)>,
}

impl Quiet {
    /// Whether nothing has come since the socket was found empty.
    pub(super) fn is_quiet(&self) -> bool {
        self.mark.as_ref().is_some_and(|(mark, _)| !mark.set.load(Ordering::Acquire))
    }

    /// Asks `poll`, which is of the socket, unless it is quiet; returns whether there is something.
    /// A socket that has nothing is quiet from then on, until the runtime tells otherwise.
    pub(super) fn poll<T>(
        &mut self,
        context: &Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> bool {
        let task = context.waker();
        let known = self.mark.take().filter(|(mark, _)| mark.task.will_wake(task));
        let (mark, waker) = known.unwrap_or_else(|| {
            let mark = Arc::new(Mark { set: AtomicBool::new(true), task: task.clone() });
            let waker = Waker::from(Arc::clone(&mark));
            (mark, waker)
        });
        // Cleared before the socket is asked: what comes meanwhile sets it again.
        let ready = mark.set.swap(false, Ordering::AcqRel)
            && poll(&mut Context::from_waker(&waker)).is_ready();
        if ready {
            mark.set.store(true, Ordering::Release);
        }
        self.mark = Some((mark, waker));
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Task(AtomicBool);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Release);
        }
    }

    #[test]
    fn a_socket_without_anything_is_asked_once_until_it_wakes() {
        let task = Arc::new(Task::default());
        let waker = Waker::from(Arc::clone(&task));
        let context = Context::from_waker(&waker);
        let mut quiet = Quiet::default();
        assert!(!quiet.is_quiet(), "nobody has looked yet");
        let mut of_socket = None;

        let first = quiet.poll(&context, |context| -> Poll<()> {
            of_socket = Some(context.waker().clone());
            Poll::Pending
        });
        let mut asked = 0;
        let second = quiet.poll(&context, |_| {
            asked += 1;
            Poll::Ready(())
        });

        assert_eq!((first, second, asked), (false, false, 0));
        assert!(quiet.is_quiet());
        of_socket.expect("asked").wake();
        assert!(task.0.load(Ordering::Acquire), "the node is woken");
        assert!(!quiet.is_quiet());
        let third = quiet.poll(&context, |_| Poll::Ready(()));
        assert!(third && !quiet.is_quiet(), "until it is found empty again");
    }

    #[test]
    fn another_task_asks_anew() {
        let first = Waker::from(Arc::new(Task::default()));
        let second = Waker::from(Arc::new(Task::default()));
        let mut quiet = Quiet::default();
        quiet.poll(&Context::from_waker(&first), |_| -> Poll<()> { Poll::Pending });
        assert!(quiet.is_quiet());

        let mut asked = false;
        quiet.poll(&Context::from_waker(&second), |_| -> Poll<()> {
            asked = true;
            Poll::Pending
        });

        assert!(asked, "or nobody wakes the second");
    }
}
