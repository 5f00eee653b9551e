import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';

type Done = (error?: Error) => void;

/** What may wait in a connection's buffer before whoever sends is held up, in bytes. */
const MOST_WAITING = 16_384;

/**
 * Has what is sent on a connection in one turn of the event loop go out in one write, and all connections written to one
 * after the other. Who sends goes on at once, until his connection's buffer is full: then, as before, only when that was
 * written.
 */
export class Corks {
  private readonly corked = new Set<Duplex>();

  /** @param stream that the socket's frames are written to */
  add(socket: WebSocket, stream: Duplex): void {
    const send = socket.send.bind(socket) as (data: string, done: Done) => void;
    // The one who sends is graphql-ws.
    socket.send = ((data: string, done: Done): void => {
      this.cork(stream);
      let isHeldUp = true;
      // What fails after he went on is the connection, which ends by that and says so.
      send(data, (error) => {
        if (isHeldUp) done(error);
      });
      if (socket.bufferedAmount > MOST_WAITING) return;
      isHeldUp = false;
      done();
    }) as WebSocket['send'];
  }

  private cork(stream: Duplex): void {
    if (this.corked.has(stream)) return;
    stream.cork();
    if (this.corked.size === 0)
      setImmediate(() => {
        const streams = [...this.corked];
        this.corked.clear();
        for (const each of streams) each.uncork();
      });
    this.corked.add(stream);
  }
}
