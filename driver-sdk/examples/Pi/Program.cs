// Estimates pi with many small tasks: each throws points at a square and counts those inside the circle.
//
//   dotnet run --project driver-sdk/examples/Pi -- [TASKS [POINTS]]      defaults: 1000 tasks, 10000 points each

using System.Globalization;
using Yarnish;

try
{
    await using var session = await YarnishSession.CreateBuilder(args).WithName("pi").ConnectAsync();
    if (!TryNumber(0, 1_000, out var tasks) || !TryNumber(1, 10_000, out var points))
    {
        Console.Error.WriteLine("usage: Pi [TASKS [POINTS]]   (whole numbers above 0; default 1000 tasks of 10000 points)");
        return 2;
    }

    var inside = await session.Range(0, tasks, partitions: tasks)
        .Select(task => PointsInside(task, points))
        .ReduceAsync(static (left, right) => left + right);

    Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"pi is about {4.0 * inside / ((double)tasks * points):F4}"));
    return 0;

    bool TryNumber(int position, int otherwise, out int number)
    {
        number = otherwise;
        return session.Arguments.Count <= position
            || (int.TryParse(session.Arguments[position], NumberStyles.None, CultureInfo.InvariantCulture, out number) && number > 0);
    }
}
catch (YarnishException error)
{
    Console.Error.WriteLine(error.Message);
    return error.ExitCode;
}

// Seeded by the task: a task that runs again gives the same answer.
static long PointsInside(int task, int points)
{
    var random = new Random(task);
    var inside = 0L;
    for (var i = 0; i < points; i++)
    {
        var (x, y) = (random.NextDouble(), random.NextDouble());
        if ((x * x) + (y * y) <= 1)
        {
            inside++;
        }
    }
    return inside;
}
