// PageRank: the ten pages of highest rank, as page<TAB>rank, of a text file with a link in each line: from and to as numbers, a space between.
//
//   dotnet run --project driver-sdk/examples/PageRank -- links.txt 10      10 iterations, embedded
//   yarnish run driver-sdk/examples/PageRank -- links.txt 10               on the cluster

using System.Globalization;
using PageRank;
using Yarnish;

await using var session = await YarnishSession.CreateBuilder(args).WithName("page-rank").ConnectAsync();
if (session.Arguments is not [var path, var iterations])
{
    Console.Error.WriteLine("Usage: PageRank PATH ITERATIONS");
    return 2;
}

var links = Ranking.Links(session.ReadText(path)).Persist();
var top = await Ranking.Ranks(links, int.Parse(iterations, CultureInfo.InvariantCulture))
    .OrderByDescending(static page => page.Value)
    .ThenBy(static page => page.Key)
    .TakeAsync(10);
foreach (var (page, rank) in top)
{
    Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{page}\t{rank:0.000000}"));
}
return 0;
