package tests;

import java.time.Duration;
import java.util.concurrent.Callable;

final class Wait {
    private static final Duration LIMIT = Duration.ofSeconds(60);

    /** Waits for something that comes by itself. */
    static void until(String what, Callable<Boolean> holds) throws Exception {
        long end = System.nanoTime() + LIMIT.toNanos();
        while (!holds.call()) {
            if (System.nanoTime() > end) throw new AssertionError(what + ": not within " + LIMIT);
            Thread.sleep(20);
        }
    }

    private Wait() {}
}
