// A node server that answers as its first argument says, on the address and port of its other arguments.
const http = require("http");
const http2 = require("http2");
const zlib = require("zlib");

const [, , way, host, port] = process.argv;
const JSON_TYPE = { "Content-Type": "application/json" };
const body = JSON.stringify({ status: "ok", note: "naïve café ☕", pad: "x".repeat(2000) });

const coded = (coding, encode) => (request, response) => {
  response.writeHead(200, { ...JSON_TYPE, "Content-Encoding": coding });
  response.end(encode(body));
};

const WAYS = {
  plain: (request, response) => response.writeHead(200, JSON_TYPE).end(body),
  chunked: (request, response) => {
    response.writeHead(200, JSON_TYPE);
    for (const part of body.match(/.{1,100}/gs)) response.write(part);
    response.end();
  },
  gzip: coded("gzip", zlib.gzipSync),
  deflate: coded("deflate", zlib.deflateSync),
  "raw-deflate": coded("deflate", zlib.deflateRawSync),
  br: coded("br", zlib.brotliCompressSync),
  twice: coded("deflate, gzip", (text) => zlib.gzipSync(zlib.deflateSync(text))),
  "cut-short": coded("gzip", (text) => zlib.gzipSync(text).subarray(0, 40)),
  unknown: coded("snappy", (text) => text),
  utf16: (request, response) => {
    response.writeHead(200, { "Content-Type": "application/json; charset=utf-16" });
    response.end(Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(body, "utf16le")]));
  },
  bom: (request, response) => response.writeHead(200, JSON_TYPE).end("\ufeff" + body),
  latin1: (request, response) => {
    response.writeHead(200, { "Content-Type": "text/plain; charset=iso-8859-1" });
    response.end(Buffer.from("café: all well", "latin1"));
  },
  "transfer-gzip": (request, response) => {
    response.socket.end(
      Buffer.concat([
        Buffer.from("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: gzip\r\n\r\n"),
        zlib.gzipSync(body),
      ]),
    );
  },
  upgrade: (request, response) =>
    response.socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
  hints: (request, response) => {
    response.writeEarlyHints({ link: "</style.css>; rel=preload; as=style" });
    response.writeContinue();
    response.writeHead(200, JSON_TYPE).end(body);
  },
  trailers: (request, response) => {
    response.writeHead(200, { ...JSON_TYPE, Trailer: "X-Sum" });
    response.write(body);
    response.addTrailers({ "X-Sum": "1" });
    response.end();
  },
  "half-a-body": (request, response) => {
    response.writeHead(200, { ...JSON_TYPE, "Content-Length": 5000 });
    response.write(body.slice(0, 100));
    setTimeout(() => response.destroy(), 20);
  },
  "many-headers": (request, response) => {
    for (let i = 0; i < 90; i += 1) response.setHeader(`X-Header-${i}`, "y".repeat(100));
    response.writeHead(200, JSON_TYPE).end(body);
  },
};

if (way === "crash") require("lodash-that-nobody-installed");
const server = way === "http2" ? http2.createServer(WAYS.plain) : http.createServer(WAYS[way]);
server.listen(Number(port), host);
