using System.Reflection;
using Xunit;

namespace Yarnish.Tests.Dataflow;

/// <summary>Names the case of a Spark 3.5 suite that a test retells in our words; the semantics, not the code, are theirs.</summary>
[AttributeUsage(AttributeTargets.Method, AllowMultiple = true)]
internal sealed class SparkCaseAttribute(string suite, string name) : Attribute
{
    public string Suite { get; } = suite;

    public string Name { get; } = name;
}

/// <summary>Keeps count.</summary>
public sealed class SparkCasesTests
{
    [Fact]
    public void At_least_ninety_cases_of_the_scheduler_suites_are_retold()
    {
        var cases = typeof(SparkCasesTests).Assembly.GetTypes()
            .SelectMany(type => type.GetMethods(BindingFlags.Public | BindingFlags.Instance))
            .SelectMany(method => method.GetCustomAttributes<SparkCaseAttribute>())
            .Select(spark => (spark.Suite, spark.Name))
            .ToArray();

        Assert.Equal(cases.Length, cases.Distinct().Count());
        Assert.True(cases.Length >= 90, $"{cases.Length} cases are retold.");
    }
}
