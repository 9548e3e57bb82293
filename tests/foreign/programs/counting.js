// Counts the requests for /n, and reports the number at any other path.
let count = 0;
require("http").createServer((request, response) => {
  if (request.url === "/n") count += 1;
  response.end(String(count));
}).listen(Number(process.argv[2]), "127.0.0.1");
