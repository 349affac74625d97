// k-means: groups the points of text files (numbers between spaces, one point a line) around k centres, which are printed.
//
//   dotnet run --project driver-sdk/examples/KMeans -- points.txt 4 20      4 centres, 20 iterations, embedded
//   yarnish run driver-sdk/examples/KMeans -- points.txt 4 20               on the cluster
//
// The points are parsed once and persisted: each iteration reads them from the executors' memory.

using System.Globalization;
using KMeans;
using Yarnish;

await using var session = await YarnishSession.CreateBuilder(args).WithName("k-means").ConnectAsync();
if (session.Arguments is not [var path, var clusters, var iterations])
{
    Console.Error.WriteLine("Usage: KMeans PATH CLUSTERS ITERATIONS");
    return 2;
}

var points = session.ReadText(path).Select(static line => Clustering.Parse(line)).Persist();
var start = await points.TakeAsync(int.Parse(clusters, CultureInfo.InvariantCulture));
foreach (var centre in await Clustering.FitAsync(points, start, int.Parse(iterations, CultureInfo.InvariantCulture)))
{
    Console.WriteLine(string.Join(' ', centre.Select(static value => value.ToString("0.######", CultureInfo.InvariantCulture))));
}
return 0;
