// A program of one file, built against this checkout; with the package its first line would be "#:package Yarnish@0.1.0".
//
//   dotnet run driver-sdk/examples/Sum.cs                                              embedded
//   Yarnish__Address=http://127.0.0.1:8088 dotnet run driver-sdk/examples/Sum.cs       on the cluster

#:project ../Yarnish.Driver/Yarnish.Driver.csproj
using Yarnish;

await using var session = await YarnishSession.CreateBuilder(args).WithName("sum").ConnectAsync();
var factor = 3L;
Console.WriteLine(await session.Range(0, 1_000).Select(number => number * factor).AggregateAsync(0L, static (sum, number) => sum + number, static (left, right) => left + right));
